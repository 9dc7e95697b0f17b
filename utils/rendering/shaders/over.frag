// What is blended over the rest is dark: it is not lit.
in vec4 paint;

out vec4 frag_color;

void main()
{
    frag_color = vec4(paint.rgb, -100.0 - paint.a);
}
