// Outer sides, where BOTH_SIDES also the inner ones and what is blended over the rest: lit per pixel. Eyes are painted
// here, by the angle from the gaze axis.
in vec3 world;
in vec3 world_normal;
in vec4 paint;  // sRGB colour; gloss 0..1, or 2 + angle from the gaze axis (radians) on an eyeball, or, blended over
                // the rest, -100 - alpha (lashes and shadows, which are not lit) or -200 - alpha (hair)
in vec2 uv;

out vec4 frag_color;

const vec3 CATCHLIGHT = vec3(-0.220, 0.140, 0.965);  // towards the window that the eyes mirror
const float HAIR_GLOSS = 0.12;
const float IRIS = 0.355, PUPIL = 0.125;    // radians: 11.7 and 4.1 mm on a ball of 16.5 mm radius

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
    bool soft = BOTH_SIDES && paint.a < -50.0;
    if (soft && paint.a > -150.0) {
        frag_color = vec4(paint.rgb, -100.0 - paint.a);
        return;
    }
    float gloss = soft ? HAIR_GLOSS : paint.a;
    vec3 albedo = paint.rgb;
#ifdef HAS_BASE_COLOR_TEX
    albedo *= texture(IMAGE, uv).rgb;
#else
    if (gloss > 1.5) albedo = eye_colour(gloss - 2.0);
#endif
    albedo *= albedo;  // sRGB to linear by gamma 2
    vec3 diffuse, highlight;
    bool inner = BOTH_SIDES && !gl_FrontFacing;  // of hair's soft rim both sides are alike
    vec3 n = normalize(world_normal);
    shine(world, inner ? -n : n, gloss, albedo.g, diffuse, highlight);
    if (gloss > 1.5) {  // a wet ball: one fixed catchlight, and little of the other lights
        float window = dot(reflect(normalize(world - CAMERA), n), CATCHLIGHT);
        highlight = vec3(0.9 * smoothstep(0.991, 0.997, window)) + 0.12 * highlight;
    }
    if (inner && !soft) highlight = vec3(0.0);
    frag_color = develop((inner && !soft ? INSIDE : 1.0) * (albedo * diffuse + highlight));
    if (soft) frag_color.a = -200.0 - paint.a;
}
