// Inner sides, seen through the open mouth, nearly black: lit per vertex, because nearly all of their pixels are hidden
// behind outer sides, and a software rasteriser shades hidden pixels too when it smooths edges.
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 texcoord_0;
layout(location = 3) in vec4 color_0;

out vec3 paint;
out vec2 uv;
out vec3 diffuse;

void main()
{
    paint = color_0.rgb;
    uv = texcoord_0;
    vec3 highlight;
    shine(position, -normal, color_0.a, color_0.g * color_0.g, diffuse, highlight);
    gl_Position = TO_SCREEN * vec4(position, 1.0);
}
