// pyrender's scene in the words of shading.glsl, for which mesh_drawing.py writes constants. pyrender sets the uniforms,
// and MAX_DIRECTIONAL_LIGHTS as it loads the file.
struct DirectionalLight {
    vec3 color;
    float intensity;
    vec3 direction;
};
struct Material {
    sampler2D base_color_texture;
};

uniform DirectionalLight directional_lights[MAX_DIRECTIONAL_LIGHTS];
uniform Material material;
uniform vec3 cam_pos;
uniform vec3 ambient_light;
uniform mat4 V;
uniform mat4 P;

#define CAMERA cam_pos
#define TO_SCREEN (P * V)
#define AMBIENT ambient_light
#define IMAGE material.base_color_texture

const bool BOTH_SIDES = true;  // one program draws outer and inner sides
const int LIGHTS = MAX_DIRECTIONAL_LIGHTS;
vec3 to_light(int i) { return -directional_lights[i].direction; }
vec3 radiance(int i) { return directional_lights[i].intensity * directional_lights[i].color; }
