"""Train the reader of the tongue on synthetic speech with phone times: models/data/tongue.safetensors.

    python -m scripts_for_dataset.train_tongue --speech data/speech   (make_synthetic_speech makes such a folder)
    python -m scripts_for_dataset.train_tongue --speech data/speech --score   (only the accuracy of the bundled one)

Half an hour or less on one core. The accuracy is that of voices that were held out, and of the real recordings of
demo/input/audio, whose phones are force-aligned to their words.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from models.app.bundled import input_folder
from models.audio.whisper import WhisperEncoder
from models.generation.tongue import OTHER, SOUND_OF, SOUNDS, TONGUE_WEIGHTS, TongueReader
from scripts_for_dataset.synthetic.augment import AugmentConfig, augment, draw_factor, resample_speech
from scripts_for_dataset.synthetic.corpus import HELD_VOICES, load_sentence, read_rows
from utils.atomic import atomic_path
from utils.config import check_least, flag, read_flags, required
from utils.errors import UserError, cli
from utils.media.alignment import align_phones, read_transcripts
from utils.media.audio import load_audio
from utils.reports.text_table import text_table
from utils.speech import Phone
from utils.timebase import FPS, samples_per_frame

log = logging.getLogger(__name__)
EDGES = (0.25, 0.5, 0.25)  # how a sound's share of a frame spreads to the frames beside it: the tongue takes time
BATCH, LEARNING_RATE, DECAY, DROPOUT = 2048, 2e-3, 0.02, 0.2
RARE = 0.5  # exponent: kinds of sounds weigh as 1 / frequency ** RARE
NEAR = 1  # frames around a phone's middle in which it must be read


@dataclass(frozen=True, kw_only=True)
class TongueFlags:
    """All flags."""

    speech: Path = required()
    """Folder of make_synthetic_speech."""
    output: Path = flag(TONGUE_WEIGHTS, "-o")
    """safetensors."""
    epochs: int = 8
    """Passes over the frames."""
    every: int = 1
    """Use every n-th sentence."""
    seed: int = 0
    """Of augmentation and order."""
    score: bool = False
    """Train nothing; score the bundled reader."""

    def check(self) -> None:
        """Raises UserError for an output of another kind, or a number out of range."""
        if self.output.suffix != ".safetensors":
            raise UserError(f"--output {self.output}: must end in .safetensors")
        check_least(self, epochs=1, every=1)


@dataclass(frozen=True)
class Frames:
    """Features and sounds of one piece of speech."""

    features: Tensor  # (T, width) float16
    shares: Tensor  # (T, kinds) float32
    phones: list[Phone]

    @classmethod
    def of(cls, encoder: WhisperEncoder, audio: np.ndarray, phones: Sequence[Phone]) -> Frames:
        """Encode audio (n,) at 16 kHz."""
        n = len(audio) // samples_per_frame()
        features = encoder(torch.from_numpy(audio[None]), n)[0].half()
        return cls(features, torch.from_numpy(sound_shares(phones, n)), list(phones))


def sound_shares(phones: Sequence[Phone], n: int) -> np.ndarray:
    """(n, kinds) float32: how much of each frame each kind of sound fills, spread by `EDGES`."""
    steps = 8  # per frame
    kinds = np.full(n * steps, OTHER)
    for phone in phones:
        kinds[round(phone.start * FPS * steps) : round(phone.end * FPS * steps)] = SOUND_OF.get(phone.name, OTHER)
    shares = np.eye(len(SOUNDS))[kinds].reshape(n, steps, -1).mean(1)
    padded = np.concatenate([shares[:1], shares, shares[-1:]])
    return sum((w * padded[i : i + n] for i, w in enumerate(EDGES)), np.zeros_like(shares)).astype(np.float32)


def corpus_frames(flags: TongueFlags, encoder: WhisperEncoder) -> tuple[list[Frames], list[Frames]]:
    """Sentences to train on, with augmentation, and all of the held-out voices, without."""
    rng, config = np.random.default_rng(flags.seed), AugmentConfig()
    rows = [row for voice in read_rows(flags.speech).values() for row in voice[:: flags.every]]
    train, held = [], []
    for row in tqdm(rows, unit="sentence"):
        known = row.voice in HELD_VOICES
        if (row.held and not known) or (flags.score and not known):
            continue
        audio, phones = load_sentence(row)
        if not known:
            audio, phones = resample_speech(audio, phones, draw_factor(config, rng))
            audio = augment(audio, config, rng)
        (held if known else train).append(Frames.of(encoder, audio, [Phone(*phone) for phone in phones]))
    return train, held


def real_frames(encoder: WhisperEncoder, names: Sequence[str] = ()) -> list[Frames]:
    """The bundled recordings whose words are known, or those of them that are named."""
    folder, found = input_folder("audio"), []
    words = read_transcripts(folder / "transcripts.tsv")
    for name in names or words:
        audio = load_audio(folder / f"{name}.flac")
        found.append(Frames.of(encoder, audio, align_phones(audio, words[name])))
    return found


def trained(frames: list[Frames], flags: TongueFlags) -> TongueReader:
    """A reader of these sentences."""
    torch.manual_seed(flags.seed)
    features = torch.cat([one.features for one in frames])
    shares = torch.cat([one.shares for one in frames])
    weights = shares.mean(0) ** -RARE
    reader = TongueReader(features.shape[1])
    steps = flags.epochs * (len(features) // BATCH)
    optimizer = torch.optim.AdamW(reader.parameters(), LEARNING_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 1))
    for step in tqdm(range(steps), unit="step"):
        if step % (len(features) // BATCH) == 0:
            order = torch.randperm(len(features))
        batch = order[step % (len(features) // BATCH) * BATCH :][:BATCH]
        logits = reader.logits(F.dropout(features[batch].float(), DROPOUT))
        loss = F.cross_entropy(logits, shares[batch] * weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return reader.eval()


@torch.no_grad()
def recalls(reader: TongueReader, frames: list[Frames]) -> list[tuple[str, int, float, float]]:
    """Of each kind of sound: phones, the share that is read within `NEAR` frames of its middle, and of all frames
    that are read as it the share that lies within `NEAR` frames of such a phone."""
    n, hit, read, right = (np.zeros(len(SOUNDS), int) for _ in range(4))
    for one in frames:
        kinds = reader.logits(one.features).argmax(-1).numpy()
        near = np.zeros((len(kinds), len(SOUNDS)), bool)
        for phone in one.phones:
            kind, span = SOUND_OF.get(phone.name, OTHER), phone.frames()
            near[max(span.start - NEAR, 0) : span.stop + NEAR, kind] = True
            middle = int((phone.start + phone.end) / 2 * FPS)
            found = kinds[max(middle - NEAR, 0) : middle + NEAR + 1]
            n[kind], hit[kind] = n[kind] + 1, hit[kind] + (kind in found)
        read += np.bincount(kinds, minlength=len(SOUNDS))
        right += np.bincount(kinds[near[np.arange(len(kinds)), kinds]], minlength=len(SOUNDS))
    return [(name, int(n[k]), hit[k] / max(n[k], 1), right[k] / max(read[k], 1)) for k, name in enumerate(SOUNDS)]


def report(title: str, rows: list[tuple[str, int, float, float]]) -> str:
    """The table of `recalls`."""
    cells = [(name, str(n), f"{found:.0%}", f"{right:.0%}") for name, n, found, right in rows]
    return f"{title}\n{text_table([('sound', 'phones', 'read', 'rightly'), *cells])}"


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(TongueFlags, argv, (__doc__ or " ").splitlines()[0])
    encoder = WhisperEncoder.load()
    train, held = corpus_frames(flags, encoder)
    reader = TongueReader.load() if flags.score else trained(train, flags)
    print(report("held-out voices", recalls(reader, held)))
    print(report("real recordings", recalls(reader, real_frames(encoder))))
    if not flags.score:
        from safetensors.torch import save_file

        with atomic_path(flags.output) as path:
            save_file({name: value.half() for name, value in reader.state_dict().items()}, path)
        log.info("wrote %s (%.0f kB)", flags.output, flags.output.stat().st_size / 1e3)


if __name__ == "__main__":
    main()
