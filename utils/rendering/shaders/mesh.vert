// Lit per pixel. The locations are those that pyrender gives its attributes.
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 texcoord_0;
layout(location = 3) in vec4 color_0;

out vec3 world;
out vec3 world_normal;
out vec4 paint;
out vec2 uv;

void main()
{
    world = position;
    world_normal = normal;
    paint = color_0;
    uv = texcoord_0;
    gl_Position = TO_SCREEN * vec4(position, 1.0);
}
