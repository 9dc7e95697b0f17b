"""Score a model, or results in files, on a split of a data set (docs/metrics.md has every formula).

python evaluate.py --exp_name NAME --iter 110000 --data_root LMDB_FOLDER --split test
python evaluate.py --coef_dir RESULTS --data_root LMDB_FOLDER
torchrun --standalone --nproc_per_node 2 evaluate.py --data_root LMDB_FOLDER     # on two GPUs
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict as plain
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

if __name__ == "__main__":  # NumPy's products round differently on other numbers of threads, and here they are small
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

import torch
from tqdm import tqdm

from datasets.evaluation.data import EvaluationData
from datasets.splits import person_of
from datasets.spoken_clips import spread
from models.app.contenders import (
    MethodSource,
    Styles,
    find_sources,
    judging_encoder,
    load_animators,
    load_head,
    make_predictor,
)
from models.app.evaluate_flags import EvaluateFlags
from models.metrics.contest import Contest, FromFiles, Generated, Task, kept_folder
from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure
from models.metrics.output import compared, results_text, write_results
from models.metrics.paper import write_paper
from models.metrics.predict import first_seed
from models.metrics.regions import find_regions
from models.metrics.scored_files import load_scored, save_scored
from models.metrics.suite import MODEL, Example, ScoredClip, Suite
from models.metrics.sweep import is_done, score_points, write_sweep
from utils.atomic import check_apart, check_output
from utils.config import read_flags
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.runs.grid import Point, read_points
from utils.runs.shards import Shard, SharedWork, settings_of
from utils.timebase import FPS
from utils.training.process_group import first_after_all

log = logging.getLogger(__name__)
EXAMPLES = 3  # clips shown in the report


@dataclass(frozen=True)
class Evaluation:
    """The scored methods and the clips that they are scored on."""

    data: EvaluationData
    contest: Contest

    @property
    def suite(self) -> Suite:
        return self.contest.suite

    @classmethod
    def prepare(cls, flags: EvaluateFlags, sources: list[MethodSource], device: torch.device) -> "Evaluation":
        """Load the models, the head, the data and the judge of styles.

        Raises:
            UserError: one of them cannot be used, or there is no clip that all methods have.
        """
        animators = load_animators(sources, flags, device)
        flame, data = load_head(flags, animators).to(device), open_data(flags)
        results = {one.name: one.results(data.clips, data.usable) for one in sources if one.name not in animators}
        data = data.only(set(data.clips).intersection(*results.values()), flags.data.limit)
        if not data.clips:
            raise UserError("--methods: no clip has results of all methods; score them one by one")
        styles, judging = Styles(data.style_windows, flags.scored.coef_stats, device), None
        judging = judging_encoder(flags, animators.get(MODEL))
        judge = styles.judge(judging, {clip: person_of(clip) for clip in data.usable}, data.alike())
        suite = Suite(
            HeadMeasure(flame, find_regions(flame.head)),
            ClosureRule(flags.run.closed_mm, flags.run.tolerance),
            judge,
            show=frozenset(spread(data.clips, EXAMPLES)),
        )
        methods = {}
        for name in (one.name for one in sources):
            if name in animators:
                requested = styles.requested(animators[name], judging, judge, flags.scored.style_enc_ckpt)
                methods[name] = Generated(make_predictor(flags, animators[name]), requested)
            else:
                methods[name] = FromFiles(results[name])
        return cls(data, Contest(suite, methods, data.stats))

    def task(self, clip: str) -> Task:
        """A clip with its baselines."""
        return Task(self.data.read(clip), self.data.entries[clip].seed, self.data.other_motions(clip))

    def work(self, output: Path, flags: EvaluateFlags, sources: list[MethodSource]) -> SharedWork:
        """What parts agree on: the groups of clips, with style references and seeds, the models, and the flags."""
        groups = self.contest.groups(self.data.clips)
        items = [" ".join(str(self.data.entries[clip]) for clip in group) for group in groups]
        return SharedWork(output, items, settings_of(flags) | {"scored": [source.label for source in sources]})

    def score(self, keep: Path | None) -> list[ScoredClip]:
        """Score all clips; `keep` see `Contest.score`."""
        groups, found = self.contest.groups(self.data.clips), []
        with tqdm(total=len(self.data.clips), desc="scoring", unit="clip") as shown:
            for group in groups:
                found += self.contest.score(group, self.task, keep)
                shown.update(len(group))
        return found

    def score_part(self, shard: Shard, keep: Path | None, folder: Path) -> None:
        """Score every n-th group of clips into files of a part's folder, if they are not there yet."""
        groups = shard.of(self.contest.groups(self.data.clips))
        for number, group in enumerate(tqdm(groups, desc=f"scoring, part {shard}", unit="group")):
            file = folder / f"{number:06d}.npz"
            if not file.is_file():
                save_scored(file, self.contest.score(group, self.task, keep))

    def collect(self, scored: list[ScoredClip]) -> None:
        """Bring the results together, in the order of the clips."""
        found = {clip.name: clip for clip in scored}
        ordered = [found[clip] for clip in self.data.clips]
        self.suite.add(ordered)
        self.suite.examples += [Example.of(self.data.read(one.name), one.shown) for one in ordered if one.shown]

    def settings(self, flags: EvaluateFlags, sources: list[MethodSource]) -> dict:
        """The settings that the numbers depend on, for metrics.json."""
        data, suite, method = self.data, self.suite, self.contest.methods[MODEL]
        frames = sum(one.frames for one in data.entries.values())
        return {
            "scored": sources[0].label,
            "methods": {source.name: source.label for source in sources},
            "data": {
                "data_root": str(flags.data.data_root), "split": data.split,
                "clips": len(data.clips), "of": len(data.usable), "own_style": len(data.own_style),
                "speakers": len({person_of(clip) for clip in data.clips}), "minutes": round(frames / FPS / 60, 2),
            },
            "sampling": plain(method.predictor.draw) if isinstance(method, Generated) else None,
            "closures": plain(suite.rule),
            "head": suite.measure.flame.head.name,
            "regions": suite.measure.regions.sources,
            "speakers_in_gallery": suite.judge.gallery.n_speakers if suite.judge else None,
            "device": str(suite.measure.device),
        }  # fmt: skip


def open_data(flags: EvaluateFlags) -> EvaluationData:
    """The data set that the flags name, with the clips that they leave.

    Raises:
        UserError: see `EvaluationData.open`; no clip is left.
    """
    seed = partial(first_seed, flags.run.seed)
    data = EvaluationData.open(flags.data.data_root, flags.data.split, seed, flags.data.protocol, flags.data.phones)
    return data.without_own_style() if flags.data.skip_own_style else data


def output_folder(flags: EvaluateFlags, checkpoint: Path | None) -> Path:
    """`--output`, else a folder beside the results or in the run's folder."""
    if flags.out.output is not None:
        return flags.out.output
    if checkpoint is None:
        assert flags.scored.coef_dir is not None  # else a checkpoint is scored
        return flags.scored.coef_dir / "evaluation"
    return checkpoint.parent.parent / "evaluation" / f"{checkpoint.stem}-{flags.data.split}"


def parse_args(argv: list[str] | None = None) -> EvaluateFlags:
    """The flags, checked."""
    return read_flags(EvaluateFlags, argv, (__doc__ or " ").splitlines()[0])


def record(flags: EvaluateFlags) -> str:
    """All that a point's numbers depend on, as JSON."""
    left = ("output", "sweep", "device", "batch_size", "no_pictures", "paper", "save_coef", "config", "shard")
    groups = plain(flags).values()
    values = {name: value for group in groups for name, value in group.items() if name not in left}
    return json.dumps(values | {"scored": [source.label for source in find_sources(flags)]}, default=str) + "\n"


def sweep(flags: EvaluateFlags, argv: list[str]) -> None:
    """Score all points of `--sweep`, or a part of them; those that are there already are kept.

    Every n-th point is one part's. Points that are left over then, fewer than parts, are shared by clips.

    Raises:
        UserError: a file that is no grid of flags, or a point with another setting than before.
    """
    assert flags.out.sweep is not None and flags.out.output is not None
    points, folder = read_points(flags.out.sweep), flags.out.output
    made = {}
    for point in points:
        try:
            made[point.name] = parse_args([*argv, *point.argv, "--output", str(folder / point.name)])
        except UserError as error:
            raise UserError(f"{flags.out.sweep}: {error}") from error

    def score(these: list[Point]) -> None:
        records = [record(made[point.name]) for point in these]
        score_points(folder, these, records, lambda point: evaluate(made[point.name], None))

    def score_part(shard: Shard) -> None:
        whole = len(points) // shard.count * shard.count
        score(shard.of(points[:whole]))
        for one in (made[point.name] for point in points[whole:]):
            if not is_done(output_folder(one, None), record(one)):
                evaluate(one, shard, merges=lambda _: False)

    shard = flags.work.part()
    work = SharedWork(folder, [record(one) for one in made.values()], settings_of(flags))
    if shard is not None:
        work.do_part(shard, lambda _: score_part(shard))
        if not first_after_all(shard.count):
            return
    work.finished()
    score(points)
    print(write_sweep(folder, points))
    work.remove()


@cli
def main(argv: list[str] | None = None) -> None:
    flags = parse_args(argv)
    if flags.out.sweep is None:
        evaluate(flags, flags.work.part())
    else:
        sweep(flags, sys.argv[1:] if argv is None else argv)


def evaluate(flags: EvaluateFlags, shard: Shard | None, merges: Callable[[int], bool] = first_after_all) -> None:
    """One evaluation, or a part of it; the process that merges writes all files and prints the tables.

    Args:
        merges: number of parts -> whether this process merges them, when it has done its own.
    """
    sources = find_sources(flags)
    output = output_folder(flags, sources[0].checkpoint)
    keep = output / "coef" if flags.out.save_coef else None
    check_output(output / "metrics.json")
    check_apart([output / "protocol.json"], [flags.data.protocol])
    check_apart([kept_folder(keep, one.name) for one in sources if keep], [one.folder for one in sources])
    run = Evaluation.prepare(flags, sources, pick_device(flags.run.device))
    work = run.work(output, flags, sources)
    if shard is not None:
        work.do_part(shard, partial(run.score_part, shard, keep))
        if not merges(shard.count):
            return
    parts = work.finished()
    files = [file for part in parts for file in sorted(part.folder.glob("*.npz"))]
    run.collect([clip for file in files for clip in load_scored(file)] if parts else run.score(keep))
    write_report(run, flags, sources, output)
    work.remove()


def write_report(run: Evaluation, flags: EvaluateFlags, sources: list[MethodSource], output: Path) -> None:
    """All files of an evaluation, and its tables on standard output."""
    run.data.protocol.write(output / "protocol.json")
    comparison = compared(run.suite.results)
    write_results(output, run.suite, run.settings(flags, sources), comparison, pictures=not flags.out.no_pictures)
    if flags.out.paper:
        write_paper(output / "paper", run.suite, comparison)
    print(results_text(run.suite.results, comparison))
    if run.data.own_style:
        log.info("%d of %d clips take their style from their own first 4 s; --skip_own_style leaves them out",
                 len(run.data.own_style), len(run.data.clips))  # fmt: skip
    log.info("wrote %s", output)


if __name__ == "__main__":
    main()
