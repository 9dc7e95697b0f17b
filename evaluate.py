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
from models.app.sampling_flags import add_sampling_flags, check_sampling_flags, generation_config
from models.fast.engine import PRECISIONS, EngineConfig
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
from utils.config import UserParser
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.motion_file import load_motion
from utils.reading.json_file import read_json
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint, style_folder
from utils.speech import PHONES_FILE, Phone, SpokenClip, read_phones
from utils.timebase import FPS

log = logging.getLogger(__name__)
BATCH = {"cpu": 32, "cuda": 256}
EXAMPLES = 3
GROUP = 2  # batches of clips generated before they are scored


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    model = parser.add_argument_group("what is scored")
    model.add_argument(
        "--exp_name", default=DEFAULT_EXPERIMENT, help="experiment in experiments/DPT, or a prefix of it"
    )
    model.add_argument("--iter", type=int, help="iteration of the checkpoint (default: the last)")
    model.add_argument("--coef_dir", type=Path, help="score these npz (exp, pose) instead, named like the clips")
    model.add_argument("--coef_stats", type=Path, help="statistics npz, for published checkpoints")
    model.add_argument("--style_enc_ckpt", type=Path, help="style encoder that judges styles (default: the model's)")
    data = parser.add_argument_group("against what")
    data.add_argument("--data_root", type=Path, required=True, help="LMDB data set with <split>.txt beside it")
    data.add_argument("--split", default="test", help="list of clips: test, val, train (default: test)")
    data.add_argument("--limit", type=int, help="only this many clips, spread over the list")
    data.add_argument("--phones", type=Path, help=f"phone times (default: {PHONES_FILE} in data_root, if it is there)")
    data.add_argument("--head", type=Path, help="FLAME pkl or npz (default: the open head)")
    data.add_argument("--masks", type=Path, help="FLAME_masks.pkl: the regions, for a FLAME file without them")
    run = parser.add_argument_group("run")
    run.add_argument("-n", "--n_samples", type=int, default=10, help="samples per clip (default: 10)")
    run.add_argument("--seed", type=int, default=0, help="seed of the first sample (default: 0)")
    run.add_argument("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    run.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the network (default: float32)")
    run.add_argument("--batch_size", type=int, help=f"windows at once (default: {BATCH['cuda']} on a GPU, else 32)")
    run.add_argument("--closed_mm", type=float, default=ClosureRule.closed_mm, help="opening of shut lips (default: 1)")
    run.add_argument("--tolerance", type=int, default=ClosureRule.tolerance, help="frames around a phone (default: 1)")
    out = parser.add_argument_group("output")
    out.add_argument(
        "-o", "--output", type=Path, help="folder (default: evaluation/<iter>-<split> in the run's folder)"
    )
    out.add_argument("--save_coef", action="store_true", help="keep the generated motions: coef/<clip>_000.npz ...")
    out.add_argument("--no_pictures", action="store_true", help="no rendered frames in the report; needs no OpenGL")
    add_sampling_flags(parser)
    return parser


def check_numbers(args) -> None:
    """Raises UserError for a number out of range."""
    check_sampling_flags(args)
    for name, low in (("n_samples", 1), ("limit", 1), ("batch_size", 1), ("tolerance", 0), ("seed", 0)):
        if getattr(args, name) is not None and getattr(args, name) < low:
            raise UserError(f"--{name} {getattr(args, name)}: must be at least {low}")
    if not args.closed_mm > 0:
        raise UserError(f"--closed_mm {args.closed_mm:g}: must be above 0")


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
    def open(cls, args) -> "Data":
        store = ClipStore(args.data_root)
        usable = long_enough(store, store.clips(args.data_root / f"{args.split}.txt"))
        phones = args.phones or args.data_root / PHONES_FILE
        known = read_phones(phones) if args.phones or phones.is_file() else None
        stats = args.data_root / "stats_train.npz"
        found = CoefStats.load(stats) if stats.is_file() else None
        clips = usable if args.coef_dir is None else list(match_results(args.coef_dir, usable))
        if len(clips) < len(usable) and args.coef_dir:
            log.warning("%s: has results for %d of %d clips", args.coef_dir, len(clips), len(usable))
        return cls(args.data_root, store, usable, spread(clips, args.limit), references(usable), known, found)

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


def style_checkpoint(args, animator: Animator | None) -> Path | None:
    """The style encoder that judges: the one given, else the model's own; None: there is none.

    Results of others on the open head are judged by the style encoder of `--exp_name`.

    Raises:
        UserError: the model's is not in experiments/SE.
    """
    if args.style_enc_ckpt is not None or (animator is None and args.head is not None):
        return args.style_enc_ckpt
    model = animator.model if animator else load_talker(find_checkpoint("DPT", args.exp_name, args.iter))[0]
    if not model.config.has_style:
        return None
    folder = style_folder(model.config.style_enc_ckpt)  # the path itself may be one of another machine
    try:
        return find_checkpoint("SE", folder.parent.name, int(folder.name.removeprefix("iter_")))
    except ValueError as error:
        raise UserError(f"--style_enc_ckpt: the model's, {folder}, is not there ({error}); give its file") from error


def make_judge(args, data: Data, animator: Animator | None, device: torch.device) -> StyleJudge | None:
    """References from the first 4 s of every clip of the split; a clip's request is its reference clip's style."""
    checkpoint = style_checkpoint(args, animator)
    if checkpoint is None:
        log.info("no style encoder: style is not scored")
        return None
    extractor = StyleExtractor.load(checkpoint, args.coef_stats, device)
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
        return self.predictor(clips, self._styles(clips), [index for index, _ in group])

    def _styles(self, clips: list[SpokenClip]) -> list[Tensor | None]:
        judge = self.suite.judge
        if judge is None or not self.predictor.model.config.has_style:
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


def load_head(args, animator: Animator | None) -> Flame:
    """The head, which must be the one whose coefficients are scored."""
    if args.head is None and animator is not None and animator.published:
        raise UserError("--head: this model moves FLAME; give FLAME's generic_model.pkl (setup/README.md)")
    flame = load_flame(args.head)
    flame.head = with_masks(flame.head, args.masks)
    return flame


def output_folder(args, checkpoint: Path | None) -> Path:
    if args.output is not None:
        return args.output
    if checkpoint is None:
        return args.coef_dir / "evaluation"
    return checkpoint.parent.parent / "evaluation" / f"{checkpoint.stem}-{args.split}"


def prepare(args, checkpoint: Path | None, device: torch.device) -> Contest:
    """Load everything that is needed."""
    animator = None if checkpoint is None else Animator.load(checkpoint, args.coef_stats, device)
    flame, data = load_head(args, animator).to(device), Data.open(args)
    suite = Suite(
        HeadMeasure(flame, find_regions(flame.head)),
        ClosureRule(args.closed_mm, args.tolerance),
        make_judge(args, data, animator, device),
        show=frozenset(spread(data.clips, EXAMPLES)),
    )
    results = {} if args.coef_dir is None else match_results(args.coef_dir, data.clips)
    return Contest(data, suite, None if animator is None else make_predictor(args, animator), results)


def make_predictor(args, animator: Animator) -> Predictor:
    """The model with its samples and sampling; without CUDA graphs, which full batches do not need."""
    config = generation_config(args, animator.model.config, animator.published)
    config = replace(config, engine=EngineConfig(args.precision, graph=False))
    batch = args.batch_size or BATCH.get(animator.model.device.type, BATCH["cpu"])
    return Predictor(animator.model, animator.codec, Draw(config, args.n_samples, args.seed, batch))


def settings(args, contest: Contest, checkpoint: Path | None) -> dict:
    """What the numbers depend on, for the record."""
    data, suite = contest.data, contest.suite
    frames = sum(data.store.n_frames(clip) for clip in data.clips)
    return {
        "scored": str(args.coef_dir or f"{checkpoint.parent.parent.name}/{checkpoint.stem}"),
        "data": {
            "data_root": str(args.data_root), "split": args.split, "clips": len(data.clips), "of": len(data.usable),
            "speakers": len({person_of(clip) for clip in data.clips}), "minutes": round(frames / FPS / 60, 2),
        },
        "sampling": None if contest.predictor is None else plain(contest.predictor.draw),
        "closures": plain(suite.rule),
        "head": suite.measure.flame.head.name,
        "regions": suite.measure.regions.sources,
        "speakers_in_gallery": suite.judge.gallery.n_speakers if suite.judge else None,
        "device": str(contest.device),
    }  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    check_numbers(args)
    checkpoint = None if args.coef_dir else find_checkpoint("DPT", args.exp_name, args.iter)
    output = output_folder(args, checkpoint)
    check_output(output / "metrics.json")
    contest = prepare(args, checkpoint, pick_device(args.device))
    contest.run(output / "coef" if args.save_coef else None)
    write_results(output, contest.suite, settings(args, contest, checkpoint), pictures=not args.no_pictures)
    print(results_text(contest.suite.results))
    log.info("wrote %s", output)


if __name__ == "__main__":
    main()
