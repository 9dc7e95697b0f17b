"""What evaluate.py scores: the flags -> models, folders of results, the head, and the judge of styles."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.app.bundled import style_encoder_file
from models.app.evaluate_flags import BATCH, EvaluateFlags
from models.app.sampling_flags import generation_config
from models.fast.engine import EngineConfig
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.heads.flame import Flame, load_flame
from models.metrics.predict import Draw, Predictor
from models.metrics.regions import with_masks
from models.metrics.result_files import find_results, match_results, strangers
from models.metrics.style_judge import StyleJudge, Windows, encoded
from models.metrics.suite import BASELINES, MODEL
from models.networks.loading import load_talker
from utils.errors import UserError
from utils.reports.wording import counted
from utils.runs.run_dir import find_checkpoint

log = logging.getLogger(__name__)
_NAME = re.compile(r"\w[\w.+ -]*")
StyleReader = Callable[[int], Windows]  # frames of a style window -> the motions that styles are taken from


@dataclass(frozen=True)
class MethodSource:
    """Where a method's motions come from: a checkpoint, or else a folder of results."""

    name: str
    checkpoint: Path | None
    folder: Path | None = None

    @property
    def label(self) -> str:
        """What the report calls it."""
        if self.checkpoint is None:
            return str(self.folder)
        return f"{self.checkpoint.parent.parent.name}/{self.checkpoint.stem}"

    def results(self, clips: list[str], split: list[str]) -> dict[str, list[Path]]:
        """Clip to score -> its files in the folder; clips without results, and files of no clip, are logged.

        Raises:
            UserError: see `match_results`.
        """
        assert self.folder is not None
        found = match_results(self.folder, clips)
        missing = [clip for clip in clips if clip not in found]
        others = strangers(self.folder, {clip: find_results(self.folder, clip) for clip in split})
        if missing:
            log.warning("%s: has results for only %d of %d clips; none for %s", self.folder, len(found), len(clips),
                        ", ".join(missing[:3]))  # fmt: skip
        if others:
            log.warning("%s: %s not named like a clip of the split: %s", self.folder,
                        counted(len(others), "file is", "files are"), ", ".join(others[:3]))  # fmt: skip
        return found


def find_sources(flags: EvaluateFlags) -> list[MethodSource]:
    """The scored methods; the first is `model`.

    Raises:
        UserError: an experiment or a folder that does not exist, or a name that cannot be a column's.
    """
    scored = flags.scored
    first = None if scored.coef_dir else find_checkpoint("DPT", scored.exp_name, scored.iter)
    sources = [MethodSource(MODEL, first, scored.coef_dir)]
    for text in scored.methods:
        name, equals, source = text.partition("=")
        if not equals or not source or not _NAME.fullmatch(name):
            raise UserError(f"--methods {text}: write NAME=FOLDER or NAME=EXPERIMENT, the name in letters and digits")
        if name in {MODEL, *BASELINES, *(one.name for one in sources)}:
            raise UserError(f"--methods {text}: there is a column {name!r} already; choose another name")
        sources.append(_source(name, source))
    return sources


def _source(name: str, source: str) -> MethodSource:
    folder = Path(source)
    if folder.is_dir():
        return MethodSource(name, None, folder)
    experiment, _, iteration = source.partition("@")
    try:
        return MethodSource(name, find_checkpoint("DPT", experiment, int(iteration) if iteration else None))
    except ValueError as error:  # also UserError
        raise UserError(f"--methods {name}={source}: neither a folder nor EXPERIMENT[@ITERATION] ({error})") from error


def load_animators(sources: list[MethodSource], flags: EvaluateFlags, device: torch.device) -> dict[str, Animator]:
    """The models among the methods, by name."""
    return {
        one.name: Animator.load(one.checkpoint, flags.scored.coef_stats, device)
        for one in sources if one.checkpoint is not None
    }  # fmt: skip


def load_head(flags: EvaluateFlags, animators: dict[str, Animator]) -> Flame:
    """The head that the scored coefficients belong to.

    Raises:
        UserError: a model that moves FLAME without a FLAME file or beside one that does not, or an unreadable file.
    """
    published = [animator.published for animator in animators.values()]
    if any(published) and not all(published):
        raise UserError("--methods: some models move FLAME, others the open head; score them one by one")
    if flags.data.head is None and any(published):
        raise UserError("--head: this model moves FLAME; give FLAME's generic_model.pkl (setup/README.md)")
    flame = load_flame(flags.data.head)
    flame.head = with_masks(flame.head, flags.data.masks)
    return flame


def judging_encoder(flags: EvaluateFlags, animator: Animator | None) -> Path | None:
    """The style encoder that judges styles: the given one, else the model's; None if the model has no style input.

    Results in files on the open head are judged by the style encoder of `--exp_name`.

    Raises:
        UserError: the model's style encoder is missing.
    """
    if flags.scored.style_enc_ckpt is not None or (animator is None and flags.data.head is not None):
        return flags.scored.style_enc_ckpt
    model = (
        animator.model if animator else load_talker(find_checkpoint("DPT", flags.scored.exp_name, flags.scored.iter))[0]
    )
    if not model.config.has_style:
        return None
    try:
        return style_encoder_file(model.config.style_enc_ckpt)
    except UserError as error:
        raise UserError(f"--style_enc_ckpt: {error}, or give its file") from error


@dataclass(frozen=True)
class Styles:
    """Requested styles as the style encoders of judge and models see them."""

    read: StyleReader
    coef_stats: Path | None
    device: torch.device

    def judge(self, checkpoint: Path | None, speaker: dict[str, str], alike: dict[str, str]) -> StyleJudge | None:
        """A judge whose references are the first 4 s of every usable clip; a clip asks for its reference's style.

        None without a style encoder.
        """
        if checkpoint is None:
            log.info("no style encoder: style is not scored")
            return None
        extractor, windows = self._open(checkpoint)
        return StyleJudge.build(extractor.encoder, extractor.codec, windows, speaker, alike)

    def requested(
        self, animator: Animator, judging: Path | None, judge: StyleJudge | None, instead: Path | None
    ) -> dict[str, np.ndarray]:
        """Clip -> the style (d,) that a model is given, from its own style encoder; empty without style input.

        Args:
            judging: the judge's style encoder.
            instead: a style encoder for models whose own is missing.

        Raises:
            UserError: the model's style encoder is missing, and there is none instead.
        """
        recorded = animator.model.config.style_enc_ckpt
        if not animator.model.config.has_style:
            return {}
        try:
            own = style_encoder_file(recorded)
        except UserError as error:
            if instead is None:
                raise UserError(f"--style_enc_ckpt: {error}, or give its file") from error
            log.warning("%s: is not here; the model is given styles of --style_enc_ckpt %s", recorded, instead)
            own = instead
        if judge is not None and judging is not None and own.samefile(judging):
            return dict(judge.requested)
        extractor, windows = self._open(own)
        return encoded(extractor.encoder, extractor.codec, windows)[1]

    def _open(self, checkpoint: Path) -> tuple[StyleExtractor, Windows]:
        extractor = StyleExtractor.load(checkpoint, self.coef_stats, self.device)
        return extractor, self.read(extractor.encoder.config.n_motions)


def make_predictor(flags: EvaluateFlags, animator: Animator) -> Predictor:
    """The model with its sampling settings; without CUDA graphs, from which full batches gain nothing."""
    config = generation_config(flags.sampling, animator.model.config, animator.published)
    config = replace(config, engine=EngineConfig(flags.run.precision, graph=False))
    batch = flags.run.batch_size or BATCH.get(animator.model.device.type, BATCH["cpu"])
    return Predictor(animator.model, animator.codec, Draw(config, flags.run.n_samples, flags.run.seed, batch))
