"""What an avatar's morph targets do, as sums of ARKit's shapes: ARKit's names, Ready Player Me's, VRM's expressions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from utils.exports.arkit import ArkitTrack, arkit_name

Mix = dict[str, float]  # ARKit shape -> its share in the weight of a morph target
ENOUGH = 10  # ARKit names that make coarser shapes of the same face superfluous


def _both(shape: str) -> Mix:
    return {f"{shape}Left": 0.5, f"{shape}Right": 0.5}


# Shapes of avatars without ARKit's: vowels and lids of VRM 0 and 1, Ready Player Me's, Oculus' visemes.
_COARSE: dict[str, Mix] = {
    **dict.fromkeys(("mouthopen", "aa", "a", "visemeaa"), {"jawOpen": 1.0}),
    **dict.fromkeys(("oh", "o", "visemeo"), {"mouthFunnel": 1.0}),
    **dict.fromkeys(("ou", "u", "visemeu"), {"mouthPucker": 1.0}),
    **dict.fromkeys(("ih", "i", "visemei"), _both("mouthStretch")),
    **dict.fromkeys(("mouthsmile", "happy", "joy"), _both("mouthSmile")),
    **dict.fromkeys(("blink", "eyesclosed"), _both("eyeBlink")),
    **dict.fromkeys(("blinkleft", "blinkl"), {"eyeBlinkLeft": 1.0}),
    **dict.fromkeys(("blinkright", "blinkr"), {"eyeBlinkRight": 1.0}),
    **dict.fromkeys(("lookup", "eyeslookup"), _both("eyeLookUp")),
    **dict.fromkeys(("lookdown", "eyeslookdown"), _both("eyeLookDown")),
}  # fmt: skip
# Of two shapes that mean the same only the first is driven.
_TWICE = (("mouthopen", "visemeaa"), ("aa", "a"), ("blinkleft", "blink"), ("blinkl", "blink"))


def shape_mixes(document: dict) -> dict[int, list[Mix]]:
    """Node number -> what each morph target of its mesh does, for nodes with at least one known target.

    Malformed documents raise KeyError, IndexError, TypeError, AttributeError or ValueError.
    """
    found = {}
    clips = _clips(document)
    for number, node in enumerate(document.get("nodes", [])):
        if "mesh" not in node:
            continue
        mesh = document["meshes"][node["mesh"]]
        names = _target_names(mesh)
        mixes = _mixes(names)
        if sum(map(bool, mixes)) < ENOUGH and clips.get(number):
            mixes = _of_clips(clips[number], len(names))
        if any(mixes):
            found[number] = mixes
    return found


def _target_names(mesh: dict) -> list[str]:
    """A name for every morph target; empty ones where the avatar names none."""
    primitives = mesh.get("primitives") or [{}]
    first = primitives[0]
    names = mesh.get("extras", {}).get("targetNames") or first.get("extras", {}).get("targetNames") or []
    return [str(name) for name in names] or [""] * len(first.get("targets", []))


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.rpartition(".")[2].lower()))


def _mixes(names: list[str]) -> list[Mix]:
    """ARKit's shapes if there are enough of them, and coarse ones otherwise."""
    exact = [{shape: 1.0} if (shape := arkit_name(name)) else {} for name in names]
    if sum(map(bool, exact)) >= ENOUGH:
        return exact
    plain = [_plain(name) for name in names]
    superfluous = {second for first, second in _TWICE if first in plain}
    superfluous |= {"mouthopen", "visemeaa"} if {"jawOpen": 1.0} in exact else set()
    coarse = [_COARSE.get(name, {}) if name not in superfluous else {} for name in plain]
    return [one or other for one, other in zip(exact, coarse)]


def _clips(document: dict) -> dict[int, list[tuple[str, int, float]]]:
    """Node -> (name of a VRM expression, morph target, weight at 1) of everything that an expression moves."""
    nodes = document.get("nodes", [])
    found: dict[int, list[tuple[str, int, float]]] = defaultdict(list)
    extensions = document.get("extensions", {})
    for name, clip in _expressions(extensions.get("VRMC_vrm", {}).get("expressions", {})):
        for bind in clip.get("morphTargetBinds") or ():
            found[bind["node"]].append((name, bind["index"], float(bind["weight"])))
    for group in extensions.get("VRM", {}).get("blendShapeMaster", {}).get("blendShapeGroups", []):
        preset = group.get("presetName", "unknown")
        name = group.get("name", "") if preset == "unknown" else preset
        for bind in group.get("binds") or ():
            for number in (k for k, node in enumerate(nodes) if node.get("mesh") == bind["mesh"]):
                found[number].append((name, bind["index"], float(bind["weight"]) / 100))
    return found


def _expressions(groups: dict) -> Iterator[tuple[str, dict]]:
    for kind in ("preset", "custom"):
        yield from (groups.get(kind) or {}).items()


def _of_clips(clips: list[tuple[str, int, float]], n_targets: int) -> list[Mix]:
    names = list(dict.fromkeys(name for name, _, _ in clips))
    mixes: list[Mix] = [{} for _ in range(n_targets)]
    of_name = dict(zip(names, _mixes(names)))
    for name, index, weight in clips:
        for shape, share in of_name[name].items():
            mixes[index][shape] = mixes[index].get(shape, 0.0) + weight * share
    return mixes


def weights_of(mixes: list[Mix], track: ArkitTrack) -> np.ndarray:
    """(T, number of targets) float32."""
    weights = np.zeros((len(track), len(mixes)), np.float32)
    for target, mix in enumerate(mixes):
        for shape, share in mix.items():
            weights[:, target] += share * track.column(shape)
    return weights
