"""One OpenGL context per process, off screen, owned by one thread.

EGL contexts are bound to a thread and deleting one pyrender renderer kills all others of the process, so there is a
single context, made on first use in a dedicated thread; every OpenGL call goes through `on_gl_thread`. EGL (GPU or
Mesa's software rasteriser) is preferred; OSMesa is the fallback, without anti-aliasing. The environment variable
PYOPENGL_PLATFORM=egl|osmesa overrides the choice, EGL_DEVICE_ID that of the EGL device.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from utils.errors import UserError

log = logging.getLogger(__name__)
SHADERS = Path(__file__).with_name("shaders")
N_LIGHTS = 5  # directional lights of a scene, neither more nor fewer: a constant of the shader
APT = "apt-get install libegl1 libgl1 libxrender1 (or libosmesa6)"

# From EGL/egl.h and EGL/eglext.h.
_EGL_PLATFORM_DEVICE, _EGL_OPENGL_API, _EGL_NONE = 0x313F, 0x30A2, 0x3038
_EGL_SURFACE_TYPE, _EGL_PBUFFER_BIT, _EGL_RENDERABLE_TYPE, _EGL_OPENGL_BIT = 0x3033, 1, 0x3040, 8
_EGL_CONTEXT = (0x3098, 4, 0x30FB, 1, 0x30FD, 1, _EGL_NONE)  # OpenGL 4.1 core, what pyrender asks for


def on_gl_thread(function: Callable, *args) -> Future:
    """Queue `function(*args)` on the process's OpenGL thread; the result comes through the Future."""
    return _gl_thread().submit(function, *args)


@functools.cache
def _gl_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="opengl")


@functools.cache
def gl_renderer():
    """The process's only pyrender renderer, its context current. Call it on the OpenGL thread.

    Raises:
        UserError: no OpenGL library works; names the system packages.
    """
    name = choose_platform()
    os.environ.setdefault("PYGLET_HEADLESS", "1")  # pyrender imports its window viewer, which we never open
    try:
        import pyrender.renderer

        platform = _make_platform(name)
        platform.init_context()
        platform.make_current()
    except Exception as error:  # whatever a driver throws: ImportError, AttributeError, GLError, AssertionError...
        raise UserError(f"no OpenGL for rendering ({name}: {error!r}); {APT}") from error
    pyrender.renderer.MAX_N_LIGHTS = N_LIGHTS  # the default 4 drops the fifth silently and at random
    log.debug("rendering with %s", name)
    return _make_renderer(platform)


def choose_platform() -> str:
    """'egl' or 'osmesa', also put into PYOPENGL_PLATFORM, which must happen before PyOpenGL is imported."""
    name = os.environ.get("PYOPENGL_PLATFORM")
    if name not in ("egl", "osmesa"):
        device = working_egl_device()
        name = "egl" if device is not None else "osmesa"
        if device is not None:
            os.environ.setdefault("EGL_DEVICE_ID", str(device))
        elif ctypes.util.find_library("OSMesa") is None:
            raise UserError(f"no OpenGL library works for rendering; {APT}")
        os.environ["PYOPENGL_PLATFORM"] = name
    return name


def working_egl_device() -> int | None:
    """Number of the first EGL device on which an OpenGL context can be made; None if there is none.

    Asked through ctypes, because PyOpenGL's platform cannot be changed once imported. GPUs a container may not use
    are listed by EGL but fail here.
    """
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        ctypes.CDLL("libGL.so.1")
    except OSError:
        return None
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query, get_display = (
        egl.eglGetProcAddress(b"eglQueryDevicesEXT"),
        egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT"),
    )
    if not query or not get_display:
        return None
    devices, count = (ctypes.c_void_p * 64)(), ctypes.c_int(0)
    signature = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    if not signature(query)(64, devices, ctypes.byref(count)):
        return None
    display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(get_display)
    displays = (display(_EGL_PLATFORM_DEVICE, devices[i], None) for i in range(count.value))
    return next((i for i, each in enumerate(displays) if each and _can_draw(egl, ctypes.c_void_p(each))), None)


def _can_draw(egl: ctypes.CDLL, display: ctypes.c_void_p) -> bool:
    """Whether an OpenGL 4.1 context can be made on this EGL display."""
    if not egl.eglInitialize(display, None, None):
        return False
    wanted = (ctypes.c_int * 5)(_EGL_SURFACE_TYPE, _EGL_PBUFFER_BIT, _EGL_RENDERABLE_TYPE, _EGL_OPENGL_BIT, _EGL_NONE)
    config, count = ctypes.c_void_p(), ctypes.c_int(0)
    egl.eglCreateContext.restype = ctypes.c_void_p
    context = None
    if (
        egl.eglBindAPI(_EGL_OPENGL_API)
        and egl.eglChooseConfig(display, wanted, ctypes.byref(config), 1, ctypes.byref(count))
        and count.value
    ):
        context = egl.eglCreateContext(display, config, None, (ctypes.c_int * len(_EGL_CONTEXT))(*_EGL_CONTEXT))
    if context:
        egl.eglDestroyContext(display, ctypes.c_void_p(context))
    egl.eglTerminate(display)
    return bool(context)


def _make_platform(name: str):
    if name == "osmesa":
        from pyrender.platforms.osmesa import OSMesaPlatform

        return OSMesaPlatform(8, 8)  # pictures go through a framebuffer object; this surface is unused
    from pyrender.platforms import egl

    return egl.EGLPlatform(8, 8, device=egl.get_device_by_index(int(os.environ.get("EGL_DEVICE_ID", "0"))))


def _make_renderer(platform):
    """pyrender's renderer with our shaders, reading back colour only (its depth read-back costs a third of a frame)."""
    import numpy as np
    from OpenGL import GL
    from pyrender.renderer import Renderer
    from pyrender.shader_program import ShaderProgramCache

    class ColourRenderer(Renderer):
        def _read_main_framebuffer(self, scene, flags):
            width, height = self._main_fb_dims
            box = (0, 0, width, height)
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb_ms)
            GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._main_fb)
            GL.glBlitFramebuffer(*box, *box, GL.GL_COLOR_BUFFER_BIT, GL.GL_LINEAR)  # resolves the 4 samples
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb)
            GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
            pixels = GL.glReadPixels(*box, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
            return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)[::-1]

    renderer = ColourRenderer(8, 8)
    renderer._program_cache = ShaderProgramCache(shader_dir=str(SHADERS))
    renderer.platform = platform  # keeps the context alive
    return renderer
