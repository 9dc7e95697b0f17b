#version 330 core
// Matte clay under soft studio lights: wrapped Lambert (light reaches a little past the terminator, like skin), a
// weak highlight whose strength is the paint's alpha, dark inner sides. Much cheaper than pyrender's PBR shader. The number
// of lights is a constant, because software rasterisers run an unrolled loop a quarter faster.
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

in vec3 world;
in vec3 world_normal;
in vec4 paint;  // sRGB colour; gloss 0..1, or 2 + angle from the gaze axis (radians) on an eyeball
#ifdef TEXCOORD_0_LOC
in vec2 uv;
#endif

out vec4 frag_color;

const vec3 WRAP = vec3(0.34, 0.24, 0.20);  // red reaches furthest round, as through skin
const float INSIDE = 0.06;                 // the inner side of the skin, seen through the open mouth
const float EXPOSURE = 1.55;
const float IRIS = 0.45, PUPIL = 0.165;    // radians: 10.5 and 4 mm on a ball of 12 mm radius

vec3 eye_colour(float angle)
{
    vec3 iris = mix(vec3(0.30, 0.19, 0.10), vec3(0.44, 0.30, 0.17), smoothstep(PUPIL, IRIS, angle));
    iris *= mix(1.0, 0.35, smoothstep(0.80 * IRIS, IRIS, angle));  // dark outer ring
    vec3 white = vec3(0.88, 0.86, 0.84);
    vec3 colour = mix(iris, white, smoothstep(IRIS - 0.03, IRIS + 0.03, angle));
    return mix(vec3(0.02), colour, smoothstep(PUPIL - 0.02, PUPIL + 0.02, angle));
}

void main()
{
    bool eye = paint.a > 1.5;
    vec3 albedo = paint.rgb;
#ifdef HAS_BASE_COLOR_TEX
    albedo *= texture(material.base_color_texture, uv).rgb;
#else
    if (eye) albedo = eye_colour(paint.a - 2.0);
#endif
    albedo *= albedo;  // sRGB to linear by gamma 2: software rasterisers are slow at pow, so none is used here
    vec3 n = normalize(world_normal);
    float open_side = 1.0;
    if (!gl_FrontFacing) {
        n = -n;
        open_side = INSIDE;
    }
    vec3 v = normalize(cam_pos - world);
    float gloss = eye ? 1.0 : paint.a;
    float matte = eye ? 0.0 : 0.03 * min(1.0, 3.0 * albedo.g);  // no glints in the depth of the mouth
    float sharp = 1.5 * gloss * gloss * (eye ? 1.0 : min(1.0, 3.0 * albedo.g));

    vec3 diffuse = ambient_light * (0.75 + 0.25 * n.y);
    vec3 highlight = vec3(0.0);
    vec3 mirrored = reflect(-v, n);
    for (int i = 0; i < MAX_DIRECTIONAL_LIGHTS; i++) {
        vec3 l = -directional_lights[i].direction;
        vec3 radiance = directional_lights[i].intensity * directional_lights[i].color;
        vec3 wrapped = max((dot(n, l) + WRAP) / (1.0 + WRAP), 0.0);
        diffuse += radiance * wrapped * wrapped;
        float x = max(dot(mirrored, l), 0.0);
        x *= x; x *= x;  // to the 4th
        float x64 = x * x;
        x64 *= x64; x64 *= x64; x64 *= x64;
        highlight += radiance * wrapped.g * (matte * x + sharp * x64);
    }
    vec3 linear = open_side * (albedo * diffuse + highlight);
    linear = 1.0 - exp(-EXPOSURE * linear);  // soft shoulder: lights add up without clipping
    frag_color = vec4(sqrt(linear), 1.0);
}
