// A head turned before a camera that stays: `world` has its origin in the head's middle and the camera on its z axis.
in vec3 position; in vec3 normal; in vec2 uv; in vec4 colour;
uniform mat4 projection; uniform mat3 turn; uniform vec3 centre;
out vec3 world; out vec3 world_normal; out vec2 st; out vec4 paint;

void main()
{
    world = turn * (position - centre); world_normal = turn * normal; st = uv; paint = colour;
    gl_Position = projection * vec4(world - CAMERA, 1.0);
}
