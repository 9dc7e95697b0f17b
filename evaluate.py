"""Score a model, or anybody's results, on a split of a data set (docs/metrics.md has every formula).

python evaluate.py --exp_name NAME --iter 110000 --data_root LMDB_FOLDER --split test
python evaluate.py --coef_dir RESULTS --data_root LMDB_FOLDER
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict as plain
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from datasets.clip_store import ClipStore
from datasets.splits import person_of
from datasets.spoken_clips import long_enough, read_clip, read_motion, references, second_take, spread
from models.app.bundled import style_encoder_file
from models.app.sampling_flags import SamplingFlags, generation_config
from models.fast.engine import EngineConfig
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.heads.flame import Flame, load_flame
from models.metrics import suite as methods
from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure, Sampled
from models.metrics.obedience import StyleJudge
from models.metrics.output import results_text, write_results
from models.metrics.predict import Draw, Predictor
from models.metrics.regions import find_regions, with_masks
from models.metrics.result_files import match_results
from models.metrics.sample_files import read_samples, save_samples
from models.metrics.score import mean_pose, other_clip, sampled
from models.metrics.suite import Suite
from models.networks.loading import load_talker
from utils.atomic import check_output
from utils.coefs import CoefStats
from utils.config import check_least, flag, read_flags
from utils.devices import PRECISION_SPELLINGS, PRECISIONS, pick_device
from utils.errors import UserError, cli
from utils.motion_file import load_motion
from utils.reading.json_file import read_json
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint
from utils.speech import PHONES_FILE, Phone, SpokenClip, read_phones
from utils.timebase import FPS

log = logging.getLogger(__name__)
BATCH = {"cpu": 32, "cuda": 256}
EXAMPLES = 3
GROUP = 2  # batches of clips generated before they are scored


@dataclass(frozen=True)
class ScoredFlags:
    """What is scored."""

    exp_name: str = DEFAULT_EXPERIMENT
    """Experiment in experiments/DPT, or a prefix of it."""
    iter: int | None = None
    """Iteration of the checkpoint (default: the last)."""
    coef_dir: Path | None = None
    """Score these npz (exp, pose) instead, named like the clips."""
    coef_stats: Path | None = None
    """Statistics npz, for published checkpoints."""
    style_enc_ckpt: Path | None = None
    """Style encoder that judges styles (default: the model's)."""


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """Against what."""

    data_root: Path
    """LMDB data set with <split>.txt beside it."""
    split: str = "test"
    """List of clips: test, val, train (default: test)."""
    limit: int | None = None
    """Only this many clips, spread over the list."""
    phones: Path | None = flag(None, known=(PHONES_FILE,))
    """Phone times (default: {known} in data_root, if it is there)."""
    head: Path | None = None
    """FLAME pkl or npz (default: the open head)."""
    masks: Path | None = None
    """FLAME_masks.pkl: the regions, for a FLAME file without them."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, limit=1)


@dataclass(frozen=True)
class RunFlags:
    """How it is done."""

    n_samples: int = flag(10, "-n")
    """Samples per clip."""
    seed: int = 0
    """Seed of the first sample."""
    device: str = "auto"
    """cuda, cpu or auto."""
    precision: str = flag("fp32", choices=PRECISIONS, spellings=PRECISION_SPELLINGS)
    """Of the network."""
    batch_size: int | None = flag(None, known=(f"{BATCH['cuda']} on a GPU", f"else {BATCH['cpu']}"))
    """Windows at once (default: {known})."""
    closed_mm: float = ClosureRule.closed_mm
    """Opening of shut lips."""
    tolerance: int = ClosureRule.tolerance
    """Frames around a phone."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, n_samples=1, batch_size=1, tolerance=0, seed=0)
        if not self.closed_mm > 0:
            raise UserError(f"--closed_mm {self.closed_mm:g}: must be above 0")


@dataclass(frozen=True)
class OutputFlags:
    """What is written."""

    output: Path | None = flag(None, "-o")
    """Folder (default: evaluation/<iter>-<split> in the run's folder)."""
    save_coef: bool = False
    """Keep the generated motions: coef/<clip>_000.npz ..."""
    no_pictures: bool = False
    """No rendered frames in the report; needs no OpenGL."""


@dataclass(frozen=True)
class EvaluateFlags:
    """All flags of the program."""

    scored: ScoredFlags
    """what is scored"""
    data: DataFlags
    """against what"""
    run: RunFlags
    """run"""
    out: OutputFlags
    """output"""
    sampling: SamplingFlags
    """sampling"""


@dataclass(frozen=True)
class Data:
    """The clips of a split, and what is known about them."""

    root: Path
    store: ClipStore
    usable: list[str]  # all of the split that are long enough
    clips: list[str]  # those that are scored
    reference: dict[str, str]  # clip -> the one its style is taken from
    phones: dict[str, list[Phone]] | None
    stats: CoefStats | None

    @classmethod
    def open(cls, flags: EvaluateFlags) -> "Data":
        store = ClipStore(flags.data.data_root)
        usable = long_enough(store, store.clips(flags.data.data_root / f"{flags.data.split}.txt"))
        phones = flags.data.phones or flags.data.data_root / PHONES_FILE
        known = read_phones(phones) if flags.data.phones or phones.is_file() else None
        stats = flags.data.data_root / "stats_train.npz"
        found = CoefStats.load(stats) if stats.is_file() else None
        clips = usable if flags.scored.coef_dir is None else list(match_results(flags.scored.coef_dir, usable))
        if len(clips) < len(usable) and flags.scored.coef_dir:
            log.warning("%s: has results for %d of %d clips", flags.scored.coef_dir, len(clips), len(usable))
        return cls(
            flags.data.data_root, store, usable, spread(clips, flags.data.limit), references(usable), known, found
        )

    def read(self, clip: str) -> SpokenClip:
        return read_clip(self.store, clip, self.reference[clip], self.phones)

    def alike(self) -> dict[str, str]:
        """Speaker -> a name for its style, from the `speakers.json` of a synthetic data set."""
        table = self.root / "speakers.json"
        if not table.is_file():
            return {}
        try:
            return {name: json.dumps(entry["style"]) for name, entry in read_json(table).items()}
        except (KeyError, TypeError) as error:
            raise UserError(f"{table}: an entry has no style ({error}); make it anew, or delete it") from error


def style_checkpoint(flags: EvaluateFlags, animator: Animator | None) -> Path | None:
    """The style encoder that judges: the one given, else the model's own; None: there is none.

    Results of others on the open head are judged by the style encoder of `--exp_name`.

    Raises:
        UserError: the model's is not here.
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
    """References from the first 4 s of every clip of the split; a clip's request is its reference clip's style."""
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
    """Everything that is compared on a clip."""

    data: Data
    suite: Suite
    predictor: Predictor | None  # None: scored are the results of --coef_dir
    results: dict[str, list[Path]]  # of --coef_dir

    @property
    def device(self) -> torch.device:
        return self.suite.measure.device

    def groups(self) -> Iterator[list[tuple[int, SpokenClip]]]:
        """Clips with their numbers in the split, as many as keep batches full with their samples."""
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
        """Score all clips; `keep`: folder for the scored motions."""
        with tqdm(total=len(self.data.clips), desc="scoring", unit="clip") as shown:
            for group in self.groups():
                for (_, clip), motion in zip(group, self.entries(group)):
                    self.suite.score(clip, {methods.MODEL: motion, **self.baselines(clip)})
                    if keep is not None:
                        save_samples(keep, clip, motion)
                    shown.update()


def load_head(flags: EvaluateFlags, animator: Animator | None) -> Flame:
    """The head, which must be the one whose coefficients are scored."""
    if flags.data.head is None and animator is not None and animator.published:
        raise UserError("--head: this model moves FLAME; give FLAME's generic_model.pkl (setup/README.md)")
    flame = load_flame(flags.data.head)
    flame.head = with_masks(flame.head, flags.data.masks)
    return flame


def output_folder(flags: EvaluateFlags, checkpoint: Path | None) -> Path:
    if flags.out.output is not None:
        return flags.out.output
    if checkpoint is None:
        assert flags.scored.coef_dir is not None  # else a checkpoint is scored
        return flags.scored.coef_dir / "evaluation"
    return checkpoint.parent.parent / "evaluation" / f"{checkpoint.stem}-{flags.data.split}"


def prepare(flags: EvaluateFlags, checkpoint: Path | None, device: torch.device) -> Contest:
    """Load everything that is needed."""
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
    """The model with its samples and sampling; without CUDA graphs, which full batches do not need."""
    config = generation_config(flags.sampling, animator.model.config, animator.published)
    config = replace(config, engine=EngineConfig(flags.run.precision, graph=False))
    batch = flags.run.batch_size or BATCH.get(animator.model.device.type, BATCH["cpu"])
    return Predictor(animator.model, animator.codec, Draw(config, flags.run.n_samples, flags.run.seed, batch))


def settings(flags: EvaluateFlags, contest: Contest, checkpoint: Path | None) -> dict:
    """What the numbers depend on, for the record."""
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
    return read_flags(EvaluateFlags, argv, (__doc__ or "").splitlines()[0])


@cli
def main(argv: list[str] | None = None) -> None:
    flags = parse_args(argv)
    checkpoint = None if flags.scored.coef_dir else find_checkpoint("DPT", flags.scored.exp_name, flags.scored.iter)
    output = output_folder(flags, checkpoint)
    check_output(output / "metrics.json")
    contest = prepare(flags, checkpoint, pick_device(flags.run.device))
    contest.run(output / "coef" if flags.out.save_coef else None)
    write_results(output, contest.suite, settings(flags, contest, checkpoint), pictures=not flags.out.no_pictures)
    print(results_text(contest.suite.results))
    log.info("wrote %s", output)


if __name__ == "__main__":
    main()
