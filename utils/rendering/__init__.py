"""Pictures of a head through OpenGL: shaders, looks, paint.

To add a light: shaders/shading.glsl; a look: looks.py.
"""
