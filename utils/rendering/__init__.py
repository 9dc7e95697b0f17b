"""Pictures of a head through OpenGL: shaders, looks, paint.

To add a light: stage.py; a look: looks.py; a material: head_paint.py and shaders/, which both renderers compile.
"""
