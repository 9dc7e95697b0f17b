"""Score a model, or results in files, on a split of a data set (docs/metrics.md has every formula).

python evaluate.py --exp_name NAME --iter 110000 --data_root LMDB_FOLDER --split test
python evaluate.py --coef_dir RESULTS --data_root LMDB_FOLDER
"""

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict as plain
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out

import torch
from torch import Tensor
from tqdm import tqdm

from datasets.clip_store import ClipStore
from datasets.splits import person_of
from datasets.spoken_clips import long_enough, read_clip, read_motion, references, second_take, spread
from models.app.bundled import style_encoder_file
from models.app.evaluate_flags import BATCH, EvaluateFlags
from models.app.sampling_flags import generation_config
from models.fast.engine import EngineConfig
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.heads.flame import Flame, load_flame
from models.metrics import suite as methods
from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure, Sampled
from models.metrics.output import results_text, write_results
from models.metrics.predict import Draw, Predictor
from models.metrics.regions import find_regions, with_masks
from models.metrics.result_files import match_results, read_samples, save_samples, strangers
from models.metrics.score import mean_pose, other_clip, sampled
from models.metrics.style_judge import StyleJudge
from models.metrics.suite import Suite
from models.networks.loading import load_talker
from utils.atomic import check_apart, check_output
from utils.coefs import CoefStats
from utils.config import read_flags
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.exports.arkit import head_model_of
from utils.motion_file import load_motion
from utils.reading.json_file import read_json
from utils.runs.run_dir import find_checkpoint
from utils.speech import PHONES_FILE, Phone, SpokenClip, read_phones
from utils.timebase import FPS

log = logging.getLogger(__name__)
EXAMPLES = 3  # clips shown in the report
GROUP = 2  # batches of clips generated before they are scored


def scored_clips(folder: Path, usable: list[str]) -> list[str]:
    """The clips with results in `--coef_dir`; what has none, and files of no clip, are logged.

    Raises:
        UserError: see `match_results`.
    """
    found = match_results(folder, usable)
    missing, others = [clip for clip in usable if clip not in found], strangers(folder, found)
    if missing:
        log.warning("%s: has results for only %d of %d clips; none for %s", folder, len(found), len(usable),
                    ", ".join(missing[:3]))  # fmt: skip
    if others:
        log.warning("%s: %d files are not named like a clip of the split: %s", folder, len(others),
                    ", ".join(others[:3]))  # fmt: skip
    return list(found)


@dataclass(frozen=True)
class Data:
    """The clips of a split with their phones, references and statistics."""

    root: Path
    store: ClipStore
    usable: list[str]  # all clips of the split that are long enough
    clips: list[str]  # the ones to score
    reference: dict[str, str]  # clip -> the clip that its style is taken from
    phones: dict[str, list[Phone]] | None
    stats: CoefStats | None

    @classmethod
    def open(cls, flags: EvaluateFlags) -> "Data":
        """Open the data set that the flags name.

        Raises:
            UserError: an unreadable data set, list, phone table or statistics file, or no clip to score.
        """
        store = ClipStore(flags.data.data_root)
        usable = long_enough(store, store.clips(flags.data.data_root / f"{flags.data.split}.txt"))
        phones = flags.data.phones or flags.data.data_root / PHONES_FILE
        known = read_phones(phones) if flags.data.phones or phones.is_file() else None
        stats = flags.data.data_root / "stats_train.npz"
        found = CoefStats.load(stats) if stats.is_file() else None
        clips = usable if flags.scored.coef_dir is None else scored_clips(flags.scored.coef_dir, usable)
        return cls(
            flags.data.data_root, store, usable, spread(clips, flags.data.limit), references(usable), known, found
        )

    def read(self, clip: str) -> SpokenClip:
        return read_clip(self.store, clip, self.reference[clip], self.phones)

    def alike(self) -> dict[str, str]:
        """Speaker -> a name for its style, from the `speakers.json` of a synthetic data set.

        Raises:
            UserError: an entry without a style.
        """
        table = self.root / "speakers.json"
        if not table.is_file():
            return {}
        try:
            return {name: json.dumps(entry["style"]) for name, entry in read_json(table).items()}
        except (KeyError, TypeError) as error:
            raise UserError(f"{table}: an entry has no style ({error}); make the file again, or delete it") from error


def style_checkpoint(flags: EvaluateFlags, animator: Animator | None) -> Path | None:
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


def make_judge(flags: EvaluateFlags, data: Data, animator: Animator | None, device: torch.device) -> StyleJudge | None:
    """A judge whose references are the first 4 s of every usable clip; a clip asks for its reference's style.

    None without a style encoder.
    """
    checkpoint = style_checkpoint(flags, animator)
    if checkpoint is None:
        log.info("no style encoder: style is not scored")
        return None
    extractor = StyleExtractor.load(checkpoint, flags.scored.coef_stats, device)
    motions = {clip: read_motion(data.store, clip, extractor.encoder.config.n_motions) for clip in data.usable}
    speaker = {clip: person_of(clip) for clip in data.usable}
    return StyleJudge.build(extractor.encoder, extractor.codec, motions, data.reference, speaker, data.alike())


@dataclass(frozen=True)
class Contest:
    """Scores the model, or the results of --coef_dir, and the baselines on every clip."""

    data: Data
    suite: Suite
    predictor: Predictor | None  # None: score the results of --coef_dir
    results: dict[str, list[Path]]  # clip -> its files in --coef_dir

    @property
    def device(self) -> torch.device:
        return self.suite.measure.device

    def groups(self) -> Iterator[list[tuple[int, SpokenClip]]]:
        """Clips with their numbers in the split, in groups whose samples fill the batches."""
        draw = None if self.predictor is None else self.predictor.draw
        size = 1 if draw is None else max(1, GROUP * draw.batch_size // draw.n_samples)
        for start in range(0, len(self.data.clips), size):
            chosen = self.data.clips[start : start + size]
            yield [(self.data.usable.index(clip), self.data.read(clip)) for clip in chosen]

    def entries(self, group: list[tuple[int, SpokenClip]]) -> list[Sampled]:
        """The scored motions of a group of clips: generated, or read."""
        clips = [clip for _, clip in group]
        if self.predictor is None:
            return [read_samples(self.results[clip.name], clip, self.device) for clip in clips]
        return self.predictor(clips, self._styles(self.predictor, clips), [index for index, _ in group])

    def _styles(self, predictor: Predictor, clips: list[SpokenClip]) -> list[Tensor | None]:
        judge = self.suite.judge
        if judge is None or not predictor.model.config.has_style:
            return [None] * len(clips)
        return [torch.from_numpy(judge.requested[clip.name]).to(self.device) for clip in clips]

    def baselines(self, clip: SpokenClip) -> dict[str, Sampled]:
        """Method -> motion: a second take, the reference clip, and the mean pose, where they exist."""
        found = {}
        take = second_take(self.data.root, clip.name)
        if take.is_file():
            again = load_motion(take)
            found[methods.RESAMPLED] = sampled(again.exp[None], again.pose[None], self.device)
        reference = self.data.reference[clip.name]
        if reference != clip.name:
            other = read_motion(self.data.store, reference)
            found[methods.OTHER_CLIP] = other_clip(other.exp, other.pose, clip.n_frames, self.device)
        if self.data.stats is not None:
            stats = self.data.stats.to(self.device)
            found[methods.MEAN_POSE] = mean_pose(stats.exp_mean, stats.pose_mean, clip.n_frames)
        return found

    def run(self, keep: Path | None) -> None:
        """Score all clips, and save their motions in the folder `keep` if one is given."""
        with tqdm(total=len(self.data.clips), desc="scoring", unit="clip") as shown:
            for group in self.groups():
                for (_, clip), motion in zip(group, self.entries(group)):
                    self.suite.score(clip, {methods.MODEL: motion, **self.baselines(clip)})
                    if keep is not None:
                        save_samples(keep, clip, motion, head_model_of(self.suite.measure.flame.head))
                    shown.update()


def load_head(flags: EvaluateFlags, animator: Animator | None) -> Flame:
    """The head that the scored coefficients belong to.

    Raises:
        UserError: a model that moves FLAME without a FLAME file, or an unreadable file.
    """
    if flags.data.head is None and animator is not None and animator.published:
        raise UserError("--head: this model moves FLAME; give FLAME's generic_model.pkl (setup/README.md)")
    flame = load_flame(flags.data.head)
    flame.head = with_masks(flame.head, flags.data.masks)
    return flame


def output_folder(flags: EvaluateFlags, checkpoint: Path | None) -> Path:
    """`--output`, else a folder beside the results or in the run's folder."""
    if flags.out.output is not None:
        return flags.out.output
    if checkpoint is None:
        assert flags.scored.coef_dir is not None  # else a checkpoint is scored
        return flags.scored.coef_dir / "evaluation"
    return checkpoint.parent.parent / "evaluation" / f"{checkpoint.stem}-{flags.data.split}"


def prepare(flags: EvaluateFlags, checkpoint: Path | None, device: torch.device) -> Contest:
    """Load the model, the head, the data and the judge of styles."""
    animator = None if checkpoint is None else Animator.load(checkpoint, flags.scored.coef_stats, device)
    flame, data = load_head(flags, animator).to(device), Data.open(flags)
    suite = Suite(
        HeadMeasure(flame, find_regions(flame.head)),
        ClosureRule(flags.run.closed_mm, flags.run.tolerance),
        make_judge(flags, data, animator, device),
        show=frozenset(spread(data.clips, EXAMPLES)),
    )
    results = {} if flags.scored.coef_dir is None else match_results(flags.scored.coef_dir, data.clips)
    return Contest(data, suite, None if animator is None else make_predictor(flags, animator), results)


def make_predictor(flags: EvaluateFlags, animator: Animator) -> Predictor:
    """The model with its sampling settings; without CUDA graphs, from which full batches gain nothing."""
    config = generation_config(flags.sampling, animator.model.config, animator.published)
    config = replace(config, engine=EngineConfig(flags.run.precision, graph=False))
    batch = flags.run.batch_size or BATCH.get(animator.model.device.type, BATCH["cpu"])
    return Predictor(animator.model, animator.codec, Draw(config, flags.run.n_samples, flags.run.seed, batch))


def settings(flags: EvaluateFlags, contest: Contest, checkpoint: Path | None) -> dict:
    """The settings that the numbers depend on, for metrics.json."""
    data, suite = contest.data, contest.suite
    frames = sum(data.store.n_frames(clip) for clip in data.clips)
    return {
        "scored": str(flags.scored.coef_dir or (checkpoint and f"{checkpoint.parent.parent.name}/{checkpoint.stem}")),
        "data": {
            "data_root": str(flags.data.data_root), "split": flags.data.split,
            "clips": len(data.clips), "of": len(data.usable),
            "speakers": len({person_of(clip) for clip in data.clips}), "minutes": round(frames / FPS / 60, 2),
        },
        "sampling": None if contest.predictor is None else plain(contest.predictor.draw),
        "closures": plain(suite.rule),
        "head": suite.measure.flame.head.name,
        "regions": suite.measure.regions.sources,
        "speakers_in_gallery": suite.judge.gallery.n_speakers if suite.judge else None,
        "device": str(contest.device),
    }  # fmt: skip


def parse_args(argv: list[str] | None = None) -> EvaluateFlags:
    """The flags, checked."""
    return read_flags(EvaluateFlags, argv, (__doc__ or " ").splitlines()[0])


@cli
def main(argv: list[str] | None = None) -> None:
    flags = parse_args(argv)
    checkpoint = None if flags.scored.coef_dir else find_checkpoint("DPT", flags.scored.exp_name, flags.scored.iter)
    output = output_folder(flags, checkpoint)
    check_output(output / "metrics.json")
    contest = prepare(flags, checkpoint, pick_device(flags.run.device))
    check_apart([output / "coef" if flags.out.save_coef else None], [flags.scored.coef_dir])
    contest.run(output / "coef" if flags.out.save_coef else None)
    write_results(output, contest.suite, settings(flags, contest, checkpoint), pictures=not flags.out.no_pictures)
    print(results_text(contest.suite.results))
    log.info("wrote %s", output)


if __name__ == "__main__":
    main()
