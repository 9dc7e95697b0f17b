// What is blended over the rest: lashes, shadows of the lids. The paint's fourth number is -100 - alpha.
layout(location = 0) in vec3 position;
layout(location = 3) in vec4 color_0;

out vec4 paint;

void main()
{
    paint = color_0;
    gl_Position = TO_SCREEN * vec4(position, 1.0);
}
