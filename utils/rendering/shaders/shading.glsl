// Matte clay under soft studio lights: wrapped Lambert (light reaches a little past the terminator, like skin), a
// weak highlight whose strength is the paint's alpha, dark inner sides. What it is
// given stands above this file: CAMERA, TO_SCREEN, AMBIENT, BOTH_SIDES, LIGHTS, to_light(i), radiance(i), IMAGE.
// mesh_drawing.py writes them as constants, pyrender.glsl takes them from pyrender's scene.
const vec3 WRAP = vec3(0.34, 0.24, 0.20);  // red reaches furthest round, as through skin
const float INSIDE = 0.06;                 // the inner side of the skin, seen through the open mouth
const float EXPOSURE = 1.55;

// Light that a surface point scatters (times albedo) and mirrors. paint_gloss: 0..1, above 1.5 an eyeball's wet surface.
void shine(vec3 world, vec3 n, float paint_gloss, float albedo_green, out vec3 diffuse, out vec3 highlight)
{
    bool eye = paint_gloss > 1.5;
    float gloss = eye ? 1.0 : paint_gloss;
    float matte = eye ? 0.0 : 0.03 * min(1.0, 3.0 * albedo_green);  // no glints in the depth of the mouth
    float sharp = 1.5 * gloss * gloss * (eye ? 1.0 : min(1.0, 3.0 * albedo_green));

    vec3 v = normalize(CAMERA - world);
    vec3 mirrored = reflect(-v, n);
    diffuse = AMBIENT * (0.75 + 0.25 * n.y);
    highlight = vec3(0.0);
    for (int i = 0; i < LIGHTS; i++) {
        vec3 wrapped = max((dot(n, to_light(i)) + WRAP) / (1.0 + WRAP), 0.0);
        diffuse += radiance(i) * wrapped * wrapped;
        float x = max(dot(mirrored, to_light(i)), 0.0);
        x *= x; x *= x;  // to the 4th
        float x64 = x * x;
        x64 *= x64; x64 *= x64; x64 *= x64;
        highlight += radiance(i) * wrapped.g * (matte * x + sharp * x64);
    }
}

// Linear light to what a screen shows.
vec4 develop(vec3 linear)
{
    linear = 1.0 - exp(-EXPOSURE * linear);  // soft shoulder: lights add up without clipping
    return vec4(sqrt(linear), 1.0);          // sRGB by gamma 2: software rasterisers are slow at pow
}
