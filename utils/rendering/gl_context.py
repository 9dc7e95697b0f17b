"""One OpenGL context per renderer, off screen, owned by one thread.

Contexts are bound to a thread, so a renderer has a single one, made on first use in a dedicated thread, through which
every OpenGL call goes: `gl_thread`. EGL makes it on the first of its devices that works: a GPU or Mesa's software
rasteriser. The environment variable EGL_DEVICE_ID names another device.
"""

from __future__ import annotations

import functools
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from utils.errors import UserError

if TYPE_CHECKING:
    import moderngl

log = logging.getLogger(__name__)
APT = "apt-get install libegl1 libgl1 libxrender1"
FAST = "fast"  # the renderer that draws through moderngl
LIBRARIES = {"libegl": "libEGL.so.1", "libgl": "libGL.so.1"}
MAX_DEVICES = 16  # EGL devices tried


@functools.cache
def gl_thread(renderer: str) -> ThreadPoolExecutor:
    """The process's only thread for the OpenGL calls of this renderer."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=renderer)


@functools.cache
def open_gl() -> moderngl.Context:
    """moderngl's only context in this process, made and current on the calling thread: `gl_thread(FAST)`.

    Raises:
        UserError: no OpenGL library works; names the packages to install.
    """
    try:
        context = _first_context()
    except ImportError as error:
        raise UserError(f"no OpenGL for rendering: {error.name} is not installed; pip install moderngl") from error
    except Exception as error:  # whatever a driver throws
        raise UserError(f"no OpenGL for rendering ({error}); {APT}") from error
    context.gc_mode = "context_gc"  # what a dropped drawing leaves is freed by context.gc(), on this thread
    log.debug("rendering with %s, OpenGL %s", context.info["GL_RENDERER"], context.version_code)
    return context


def _first_context() -> moderngl.Context:
    """A context of the first EGL device that gives one; its number goes into EGL_DEVICE_ID.

    GPUs that a container may not use are listed by EGL but fail here.
    """
    import moderngl

    given = os.environ.get("EGL_DEVICE_ID")
    failures: list[Exception] = []
    for device in range(MAX_DEVICES) if given is None else [int(given)]:
        try:
            settings: dict[str, Any] = {"backend": "egl", "device_index": device, **LIBRARIES}
            context = moderngl.create_context(standalone=True, **settings)
        except Exception as error:  # glcontext raises no other kind
            failures.append(error)
        else:
            os.environ["EGL_DEVICE_ID"] = str(device)  # for programs that draw by other means
            return context
    raise failures[0]
