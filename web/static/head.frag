// The look of the videos (utils/rendering/shaders/mesh.frag) by material. Above this file stands shading.glsl.
in vec3 world; in vec3 world_normal; in vec2 st; in vec4 paint; // linear colour and alpha, as glTF has them
uniform sampler2D image; uniform bool textured; uniform int kind;
out vec4 result;

const int EYES = 1, MOUTH = 2, SOFT = 3, RIM = 4;
const vec3 CATCHLIGHT = vec3(-0.220, 0.140, 0.965);

void main()
{
    vec3 albedo = paint.rgb;
    if (textured) { vec3 seen = texture(image, st).rgb; albedo *= seen * seen; }
    if (kind == SOFT) { result = vec4(sqrt(albedo), paint.a); return; } // lashes, shadows: dark, not lit
    vec3 n = normalize(world_normal), view = normalize(world - CAMERA), diffuse, highlight;
    // Inner sides are dark, except slivers of back sides along the outline.
    float shade = gl_FrontFacing || kind == RIM ? 1.0 : mix(1.0, INSIDE, smoothstep(0.05, 0.3, dot(n, view)));
    if (!gl_FrontFacing) n = -n;
    shine(world, n, kind == EYES ? 2.0 : 0.0, albedo.g, diffuse, highlight);
    if (kind == EYES) highlight = vec3(0.9 * smoothstep(0.991, 0.997, dot(reflect(view, n), CATCHLIGHT))) + 0.12 * highlight;
    if (kind == MOUTH) highlight = vec3(0.0);
    result = develop(shade * (albedo * diffuse + highlight));
    if (kind == RIM) result.a = paint.a; // hair that fades into the skin
}
