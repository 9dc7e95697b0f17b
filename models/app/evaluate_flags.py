"""Command-line flags of evaluate.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.app.sampling_flags import SamplingFlags
from models.metrics.lips import ClosureRule
from utils.config import check_least, flag
from utils.devices import PRECISION_SPELLINGS, PRECISIONS
from utils.errors import UserError
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from utils.runs.shards import ShardFlags
from utils.speech import PHONES_FILE

BATCH = {"cpu": 32, "cuda": 256}  # windows at once, by device


@dataclass(frozen=True)
class ScoredFlags:
    """What is scored."""

    exp_name: str = DEFAULT_EXPERIMENT
    """Experiment in experiments/DPT, or a prefix of it."""
    iter: int | None = None
    """Iteration of the checkpoint (default: the last)."""
    coef_dir: Path | None = None
    """Folder of npz files (exp, pose), named like the clips, to score instead of a model."""
    methods: tuple[str, ...] = flag((), metavar="NAME=SOURCE")
    """Further columns: NAME=FOLDER of npz files, NAME=EXPERIMENT or NAME=EXPERIMENT@ITERATION."""
    coef_stats: Path | None = None
    """Statistics npz, for published checkpoints."""
    style_enc_ckpt: Path | None = None
    """Checkpoint of the style encoder that judges styles (default: the model's)."""


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """The true motions."""

    data_root: Path
    """LMDB data set with <split>.txt beside it."""
    split: str = "test"
    """List of clips: test, val or train (default: test)."""
    limit: int | None = None
    """Score only this many clips, spread over the list."""
    protocol: Path | None = None
    """protocol.json of another evaluation: score its clips with its style references and seeds (docs/metrics.md)."""
    skip_own_style: bool = False
    """Leave out clips whose style comes from their own first 4 s, as their speaker has no other clip."""
    phones: Path | None = flag(None, known=(PHONES_FILE,))
    """File of phone times (default: {known} in data_root, if it exists)."""
    head: Path | None = None
    """FLAME pkl or npz (default: the open head)."""
    masks: Path | None = None
    """FLAME_masks.pkl with the face regions, for a FLAME file without them."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, limit=1)


@dataclass(frozen=True)
class RunFlags:
    """How the scores are computed."""

    n_samples: int = flag(10, "-n")
    """Samples per clip."""
    seed: int = 0
    """Seed of the first sample."""
    device: str = "auto"
    """cuda, cpu or auto."""
    precision: str = flag("fp32", choices=PRECISIONS, spellings=PRECISION_SPELLINGS)
    """Number format of the network."""
    batch_size: int | None = flag(None, known=(f"{BATCH['cuda']} on a GPU", f"else {BATCH['cpu']}"))
    """Windows generated at once (default: {known})."""
    closed_mm: float = ClosureRule.closed_mm
    """Lips count as closed up to this opening, in mm."""
    tolerance: int = ClosureRule.tolerance
    """Frames before and after a bilabial in which the lips may close."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, n_samples=1, batch_size=1, tolerance=0, seed=0)
        if not self.closed_mm > 0:
            raise UserError(f"--closed_mm {self.closed_mm:g}: must be above 0")


@dataclass(frozen=True)
class OutputFlags:
    """The report."""

    output: Path | None = flag(None, "-o")
    """Folder of the report (default: evaluation/<iter>-<split> in the run's folder)."""
    save_coef: bool = False
    """Save the generated motions as coef/<clip>_000.npz ..."""
    sweep: Path | None = None
    """JSON {flag: [values]}: score all combinations into folders of --output, beside one table (docs/metrics.md)."""
    paper: bool = False
    """Also write LaTeX tables and PDF figures into the folder paper/ of the report."""
    no_pictures: bool = False
    """Leave rendered frames out of the report, which then needs no OpenGL."""

    def check(self) -> None:
        """Raises UserError for a sweep without a folder."""
        if self.sweep is not None and self.output is None:
            raise UserError(f"--sweep {self.sweep}: give a folder for its points with --output")


@dataclass(frozen=True)
class EvaluateFlags:
    """All flags of the program."""

    scored: ScoredFlags
    """what is scored"""
    data: DataFlags
    """data"""
    run: RunFlags
    """run"""
    out: OutputFlags
    """output"""
    sampling: SamplingFlags
    """sampling"""
    work: ShardFlags
    """sharing the work (docs/scale.md)"""
