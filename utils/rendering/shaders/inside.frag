// Inner sides: the light comes from the vertices; they do not shine.
in vec3 paint;
in vec2 uv;
in vec3 diffuse;

out vec4 frag_color;

void main()
{
    vec3 albedo = paint;
#ifdef HAS_BASE_COLOR_TEX
    albedo *= texture(IMAGE, uv).rgb;
#endif
    frag_color = develop(INSIDE * (albedo * albedo * diffuse));
}
