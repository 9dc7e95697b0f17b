"""Speech -> coefficients with the exported graphs, NumPy and onnxruntime alone: what other programs have to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


class OnnxTalker:
    """A distilled talker that `setup.export_onnx` wrote."""

    def __init__(self, folder: Path, variant: str = "fp32") -> None:
        import onnxruntime

        self.about: dict[str, Any] = json.loads((folder / "talker.json").read_text())
        self.unit = self.about["sample_rate"] // self.about["fps"]  # samples of a frame

        def session(graph: str) -> Any:
            path = folder / self.about["graphs"][graph]["variants"][variant]["file"]
            return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        self._audio, self._window = session("audio"), session("window")

    def levelled(self, audio: np.ndarray) -> np.ndarray:
        """Samples (n,) -> whole windows with silence around them, without offset, speech at the encoder's level."""
        about = self.about
        frames = len(audio) // self.unit
        whole = max(1, -(-frames // about["n_motions"])) * about["n_motions"] * self.unit
        audio = (audio - audio.mean(dtype=np.float64))[:whole]
        blocks = np.pad(audio, (0, -len(audio) % about["level_block"])).reshape(-1, about["level_block"])
        power = np.square(blocks).mean(axis=1)
        rms = np.sqrt(power[power >= 0.01 * power.max()].mean())  # blocks within 20 dB of the loudest
        around = about["surroundings"]
        padded = np.pad(audio * (about["level"] / max(rms, 1e-8)), (around, around + whole - len(audio)))
        return padded.astype(np.float32)

    def features(self, audio: np.ndarray) -> np.ndarray:
        """Samples (n,) -> features (windows, L, F)."""
        samples, step = self.levelled(audio), self.about["n_motions"] * self.unit
        length = step + 2 * self.about["surroundings"]
        starts = range(0, len(samples) - length + 1, step)
        return np.concatenate([self._audio.run(None, {"audio": samples[None, k : k + length]})[0] for k in starts])

    def person(self, style: str) -> np.ndarray:
        """The `person` input (1, person_dim) of the average head in a bundled style."""
        columns, about = self.about["person"], self.about
        person = np.zeros((1, max(end for _, end in columns.values())), np.float32)
        scales = list(about["guidance"]["scales"].values())
        for name, values in (("style", about["styles"][style]), ("scales", scales)):
            person[0, slice(*columns[name])] = values
        return person

    def motion(self, audio: np.ndarray, style: str, noise: np.ndarray) -> np.ndarray:
        """Normalised motion (n_frames, D) of samples (n,) at 16 kHz; noise: (windows, L, D), standard normal."""
        about, features = self.about, self.features(audio)
        n_frames, length, n_prev = len(audio) // self.unit, about["n_motions"], about["n_prev_motions"]
        motion, heard = (np.array(about["start"][key], np.float32)[None] for key in ("motion", "audio"))
        made, person = [], self.person(style)
        for k, window in enumerate(features[:, None]):
            valid = np.arange(length)[None] < n_frames - k * length
            given = {"noise": noise[k : k + 1], "prev_motion": motion, "prev_audio": heard, "audio": window,
                     "person": person, "indicator": valid.astype(np.float32)}  # fmt: skip
            made.append(self._window.run(None, given)[0])
            motion, heard = made[-1][:, -n_prev:], window[:, -n_prev:]
        return np.concatenate(made, axis=1)[0, :n_frames]

    def coefficients(self, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normalised motion (n, D) -> raw exp (n, 50), pose (n, 6): rotation of the head and of the jaw, axis-angle."""
        exp, pose = motion[:, :50], np.zeros((len(motion), 6), np.float32)
        pose[:, 3] = motion[:, -1]
        if self.about["head_pose"]:
            pose[:, :3] = motion[:, 50:53]
        numbers = {key: {k: np.array(v) for k, v in one.items()} for key, one in self.about["statistics"].items()}
        exp, pose = (x * numbers[key]["scale"] + numbers[key]["mean"] for key, x in (("exp", exp), ("pose", pose)))
        pose[:, :3] *= self.about["head_pose"]
        return exp, pose
