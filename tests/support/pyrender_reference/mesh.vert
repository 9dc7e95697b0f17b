#version 330 core
// Attribute numbers (*_LOC) are filled in by pyrender, which orders them position, normal, uv, colour, instance.
layout(location = 0) in vec3 position;
layout(location = NORMAL_LOC) in vec3 normal;
layout(location = COLOR_0_LOC) in vec4 color_0;
#ifdef TEXCOORD_0_LOC
layout(location = TEXCOORD_0_LOC) in vec2 texcoord_0;
out vec2 uv;
#endif

uniform mat4 V;
uniform mat4 P;

out vec3 world;
out vec3 world_normal;
out vec4 paint;

void main()
{
    world = position;
    world_normal = normal;
    paint = color_0;
#ifdef TEXCOORD_0_LOC
    uv = texcoord_0;
#endif
    gl_Position = P * V * vec4(position, 1.0);
}
