"""What the 3-D view shares with the videos: light, background and framing."""

from __future__ import annotations

from typing import Any

from models.heads.flame import Flame
from utils.rendering.looks import dress, framed_part, pivot
from utils.rendering.mesh_drawing import shading_code
from utils.rendering.renderer import RenderStyle
from utils.rendering.stage import stage_for


def scene(flame: Flame) -> dict[str, Any]:
    """stage.json of web/static/viewer.js: where the camera stands (metres, degrees), the background (sRGB in 0..1) and
    the GLSL code of the light."""
    drawn, style = dress(flame.head, "skin").drawn, RenderStyle()
    stage, middle = stage_for(framed_part(drawn), style.size, style.black_bg, style.fov), pivot(drawn)
    x, y, z = stage.pose[:3, 3]
    return {
        "centre": [float(x), float(y), float(middle[2])],
        "distance": float(z - middle[2]),
        "fov": stage.fov,
        "background": list(stage.background),
        "vignette": stage.vignette,
        "shading": shading_code(stage),
    }
