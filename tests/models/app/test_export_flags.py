"""models/app/export_flags.py."""

import pytest

from models.app.export_flags import ExportFlags, exporter_from
from models.heads.flame import load_flame
from utils.config import read_flags
from utils.errors import UserError
from utils.rendering.looks import SKIN_TEXTURE, dress


def exporter(*flags):
    flame = load_flame(None)
    return exporter_from(read_flags(ExportFlags, list(flags), ""), flame, dress(flame.head, "skin"))


def test_flags_become_an_exporter():
    assert exporter() is None
    found = exporter("--export", "glb,livelink", "--export_fps", "30")
    assert found.formats == ("glb", "livelink")
    assert (found.options.fps, found.options.texture) == (30, SKIN_TEXTURE)
    for flags, message in ((["fbx"], "fbx"), (["vhap"], "not FLAME's"), (["glb", "--export_fps", "0"], "fps")):
        with pytest.raises(UserError, match=message):
            exporter("--export", *flags)
