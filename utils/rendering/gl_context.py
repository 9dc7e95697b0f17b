"""One OpenGL context per process, off screen, owned by one thread.

Contexts are bound to a thread, so there is a single one, made on first use in a dedicated thread; every OpenGL call
goes through `on_gl_thread`. EGL (GPU or Mesa's software rasteriser) is preferred; OSMesa is the fallback, without
anti-aliasing. The environment variable PYOPENGL_PLATFORM=egl|osmesa overrides the choice, EGL_DEVICE_ID that of the
EGL device. The context is made through ctypes: of PyOpenGL only the GL calls themselves are imported.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from utils.errors import UserError

log = logging.getLogger(__name__)
APT = "apt-get install libegl1 libgl1 libxrender1 (or libosmesa6)"

# From EGL/egl.h, EGL/eglext.h and GL/osmesa.h.
_EGL_PLATFORM_DEVICE, _EGL_OPENGL_API, _EGL_NONE = 0x313F, 0x30A2, 0x3038
_EGL_SURFACE_TYPE, _EGL_PBUFFER_BIT, _EGL_RENDERABLE_TYPE, _EGL_OPENGL_BIT = 0x3033, 1, 0x3040, 8
_EGL_CONTEXT = (0x3098, 3, 0x30FB, 3, 0x30FD, 1, _EGL_NONE)  # OpenGL 3.3 core
_OSMESA_CONTEXT = (0x22, 0x1908, 0x30, 24, 0x33, 0x34, 0x36, 3, 0x37, 3, 0)  # RGBA, 24 bits of depth, core 3.3
_GL_UNSIGNED_BYTE = 0x1401


def on_gl_thread(function: Callable, *args) -> Future:
    """Queue `function(*args)` on the process's OpenGL thread; the result comes through the Future."""
    return _gl_thread().submit(function, *args)


@functools.cache
def _gl_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="opengl")


@functools.cache
def open_gl():
    """Make the process's only OpenGL context, current on the calling thread: the OpenGL thread. Later calls do nothing.

    Raises:
        UserError: no OpenGL library works; names the system packages.
    """
    name = choose_platform()
    try:
        keep = _make_context(name)
        from OpenGL import GL

        version = GL.glGetString(GL.GL_VERSION)
        if not version:
            raise OSError("the context has no version")
    except Exception as error:  # whatever a driver throws: ImportError, AttributeError, GLError, OSError...
        raise UserError(f"no OpenGL for rendering ({name}: {error!r}); {APT}") from error
    log.debug("rendering with %s, OpenGL %s", name, version.decode())
    return keep


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

    GPUs a container may not use are listed by EGL but fail here.
    """
    try:
        egl = ctypes.CDLL("libEGL.so.1")
        ctypes.CDLL("libGL.so.1")
    except OSError:
        return None
    for index, display in enumerate(_egl_displays(egl)):
        context = _egl_context(egl, display)
        if context:
            egl.eglDestroyContext(display, context)
        egl.eglTerminate(display)
        if context:
            return index
    return None


def _egl_displays(egl: ctypes.CDLL) -> Iterator[ctypes.c_void_p]:
    """A display per EGL device; none where EGL cannot list its devices."""
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query, get_display = (
        egl.eglGetProcAddress(b"eglQueryDevicesEXT"),
        egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT"),
    )
    if not query or not get_display:
        return
    devices, count = (ctypes.c_void_p * 64)(), ctypes.c_int(0)
    signature = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    if not signature(query)(64, devices, ctypes.byref(count)):
        return
    display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(get_display)
    for i in range(count.value):
        yield ctypes.c_void_p(display(_EGL_PLATFORM_DEVICE, devices[i], None))


def _egl_context(egl: ctypes.CDLL, display: ctypes.c_void_p) -> ctypes.c_void_p | None:
    """An OpenGL 3.3 context on this EGL display; None if it cannot be made."""
    if not display or not egl.eglInitialize(display, None, None):
        return None
    wanted = (ctypes.c_int * 5)(_EGL_SURFACE_TYPE, _EGL_PBUFFER_BIT, _EGL_RENDERABLE_TYPE, _EGL_OPENGL_BIT, _EGL_NONE)
    config, count = ctypes.c_void_p(), ctypes.c_int(0)
    egl.eglCreateContext.restype = ctypes.c_void_p
    chosen = egl.eglBindAPI(_EGL_OPENGL_API) and egl.eglChooseConfig(
        display, wanted, ctypes.byref(config), 1, ctypes.byref(count)
    )
    if not chosen or not count.value:
        return None
    attributes = (ctypes.c_int * len(_EGL_CONTEXT))(*_EGL_CONTEXT)
    context = egl.eglCreateContext(display, config, None, attributes)
    return ctypes.c_void_p(context) if context else None


def _make_context(name: str) -> tuple:
    """Make a context and make it current; what is returned must live as long as it does.

    Raises:
        OSError: it cannot be made.
    """
    return _make_osmesa() if name == "osmesa" else _make_egl(int(os.environ.get("EGL_DEVICE_ID", "0")))


def _make_egl(device: int) -> tuple:
    egl = ctypes.CDLL("libEGL.so.1")
    displays = list(_egl_displays(egl))
    if not 0 <= device < len(displays):
        raise OSError(f"EGL device {device} of {len(displays)}")
    context = _egl_context(egl, displays[device])
    if not context or not egl.eglMakeCurrent(displays[device], None, None, context):
        raise OSError(f"EGL error {egl.eglGetError():#x}")
    return egl, displays[device], context


def _make_osmesa() -> tuple:
    mesa = ctypes.CDLL(ctypes.util.find_library("OSMesa") or "libOSMesa.so.8")
    mesa.OSMesaCreateContextAttribs.restype = ctypes.c_void_p
    attributes = (ctypes.c_int * len(_OSMESA_CONTEXT))(*_OSMESA_CONTEXT)
    context = ctypes.c_void_p(mesa.OSMesaCreateContextAttribs(attributes, None))
    surface = (ctypes.c_ubyte * (8 * 8 * 4))()  # pictures go through framebuffer objects; this surface is unused
    if not context or not mesa.OSMesaMakeCurrent(context, surface, _GL_UNSIGNED_BYTE, 8, 8):
        raise OSError("OSMesa made no context")
    return mesa, context, surface
