// The gradient behind the head, which no light reaches.
layout(location = 0) in vec3 position;
layout(location = 3) in vec3 color_0;

out vec3 colour;

void main()
{
    colour = color_0;
    gl_Position = TO_SCREEN * vec4(position, 1.0);
}
