"""Train or test the style encoder (paper section 3.2).

python main_se.py --exp_name NAME --data_root LMDB_FOLDER [--no_head_pose]
python main_se.py --exp_name NAME --mode test      (the last checkpoint, with the run's own flags)
"""

import logging
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

import torch
from torch import Tensor, nn

from datasets.batches import batches_from
from datasets.sources.clip_sources import ClipSources, statistics_of
from datasets.style_pairs import StylePairs
from models.networks.loading import checkpoint_of, load_style_encoder
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.training.ablation import ablate
from models.training.losses import nt_xent
from utils.coefs import CoefStats, MotionCodec
from utils.config import flag, to_plain
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.runs.run_dir import find_checkpoint
from utils.runs.shards import ShardFlags
from utils.training import training_run
from utils.training.data_order import EndlessBatches, Share, evaluation_batches, to_device
from utils.training.preflight import Problems, freeze
from utils.training.process_group import end_processes, gathered, start_processes
from utils.training.randomness import Randomness
from utils.training.run_config import OpenedRun, RunConfig, check_heads, read_run_flags
from utils.training.train_step import step_maker
from utils.training.trainer import Task
from utils.training.training_run import Plan

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)
MEASURED = 32  # persons whom a validation contrasts with each other, whatever --batch_size is: the published batch


@dataclass(frozen=True, kw_only=True)
class StyleRunConfig(RunConfig):
    """The run."""

    batch_size: int = 32
    """Pairs per step; the negatives of a pair are the other people in the batch."""
    max_iter: int = 100_000
    """Steps to train for."""
    save_iter: int = 2000
    """Steps between checkpoints."""
    val_iter: int = 2000
    """Steps between validations."""
    temperature: float = 0.1
    """Temperature of the contrastive loss."""

    def check(self) -> None:
        """Raises UserError: a batch of one person has no negatives."""
        if self.batch_size < 2:
            raise UserError(
                f"--batch_size {self.batch_size}: the loss contrasts the people of a batch; give at least 2"
            )


@dataclass(frozen=True)
class Configs:
    """All flags of the program, in groups."""

    run: StyleRunConfig
    """run"""
    style_encoder: StyleEncoderConfig
    """style encoder"""
    work: ShardFlags
    """sharing the variants of --ablate (docs/scale.md)"""
    rot_repr: str = flag("aa", choices=("aa",))
    """Accepted for old command lines."""

    def resolved(self) -> dict[str, Any]:
        """The flags as config.json records them."""
        return {"run": to_plain(self.run), "style_encoder": to_plain(self.style_encoder)}

    def check(self) -> None:
        """Raises UserError: heads that do not divide the features."""
        check_heads(self.style_encoder.feature_dim, self.style_encoder.n_heads)


def parse_args(argv: list[str] | None = None) -> Configs:
    return read_run_flags("SE", Configs, argv, (__doc__ or "").partition("\n")[0])


def pairs(config: StyleRunConfig, codec: MotionCodec, split: str, n_motions: int) -> StylePairs:
    store = ClipSources(config.data_root)
    return StylePairs(store, store.table(split), codec, n_motions, config.seed)


def evaluate(
    encoder: nn.Module,
    dataset: StylePairs,
    config: StyleRunConfig,
    device: torch.device,
    share: Share = Share(),  # noqa: B008
) -> dict[str, float]:
    """NT-Xent in groups of people, and how often a clip's nearest clip is the same person's (style retrieval).

    Each process encodes its share of the clips; all compare all of them.
    """
    features = {}
    for number, batch in zip(count(share.process, share.processes), evaluation_batches(dataset, MEASURED, 0, share)):
        pair = to_device(batch, device)
        features[number] = torch.stack([encoder(pair[:, i]) for i in (0, 1)]).cpu()
    first, second = torch.cat(list(gathered(features).values()), dim=1).to(device)
    persons = {"persons": float(len(dataset))}
    if len(dataset) < 2:  # one person has no negatives
        return persons
    return {
        "nt_xent": grouped_nt_xent(first, second, config.temperature).item(),
        "retrieval_top1": retrieval_top1(first, second),
    } | persons


def grouped_nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Mean NT-Xent of groups of `MEASURED` people, or of all if they are fewer; a, b (N, D), N at least 2.

    The last group is filled up with the people before it, since fewer negatives would make a smaller loss.
    """
    size = min(MEASURED, len(a))
    starts = [min(start, len(a) - size) for start in range(0, len(a), size)]
    groups = [slice(start, start + size) for start in starts]
    return torch.stack([nt_xent(a[group], b[group], temperature) for group in groups]).mean()


def retrieval_top1(a: Tensor, b: Tensor) -> float:
    """Fraction of rows of a (N, D) whose most similar row of b (cosine) has the same index."""
    similarity = nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
    return (similarity.argmax(1) == torch.arange(len(a), device=a.device)).float().mean().item()


def train(configs: Configs) -> None:
    config, options = configs.run, configs.style_encoder
    accelerator = start_processes(config.device, config.matmul_precision, config.cuda_graph)

    def make_plan(run: OpenedRun, problems: Problems) -> Plan | None:
        check = problems.check
        stats = check(statistics_of, config.data_root, config.stats_file)
        codec = MotionCodec(options.layout, stats or CoefStats.identity())
        train_set, val_set = (check(pairs, config, codec, split, options.n_motions) for split in ("train", "val"))
        share = Share(accelerator.process_index, accelerator.num_processes)
        if train_set is not None:
            check(EndlessBatches, len(train_set), config.batch_size, config.seed, 0, share)
        if val_set is not None and len(val_set) < 2:
            log.warning("%s/val.txt: lists one person only, so there is no validation loss", config.data_root)
        torch.manual_seed(config.seed)
        encoder = StyleEncoder(options).to(accelerator.device).train()
        check(freeze, encoder, config.freeze)
        make_step = check(step_maker, config.cuda_graph, accelerator)
        if problems.found:
            return None
        # Each of these is None only after a problem.
        assert stats is not None and make_step is not None
        assert train_set is not None and val_set is not None
        return Plan(
            make_task(config, encoder, stats, val_set, accelerator),
            batches_from(train_set, config, accelerator.device, share),
            {"persons, training": len(train_set), "persons, validation": len(val_set)},
            load_style_encoder(run.resumed)[1] if run.resumed else None,
            encoder.compile,
            make_step,
        )

    training_run.train("SE", config, configs.resolved(), accelerator, make_plan)
    end_processes()


def make_task(
    config: StyleRunConfig, encoder: StyleEncoder, stats: CoefStats, val_set: StylePairs, accelerator: "Accelerator"
) -> Task[StyleEncoder]:
    device = accelerator.device
    share = Share(accelerator.process_index, accelerator.num_processes)
    random = Randomness(config.seed, device, share.process)

    def loss(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features = encoder(batch.flatten(0, 1)).float().unflatten(0, (-1, 2))
        with torch.autocast(device.type, enabled=False):
            return nt_xent(features[:, 0], features[:, 1], config.temperature), {}

    return Task(
        network=encoder,
        begin_step=random.begin,
        prepare=lambda batch: to_device(batch, device),
        loss=loss,
        validate=lambda network: evaluate(network, val_set, config, device, share),
        checkpoint=lambda network, step, state: checkpoint_of(network, stats, step, state),
        best_by="nt_xent",
    )


def test(config: StyleRunConfig) -> None:
    device = pick_device(config.device)
    path = find_checkpoint("SE", config.exp_name, config.iter)
    encoder, checkpoint = load_style_encoder(path)
    stats = checkpoint.stats or statistics_of(config.data_root, config.stats_file)
    dataset = pairs(config, MotionCodec(encoder.config.layout, stats), "test", encoder.config.n_motions)
    if len(dataset) < 2:
        raise UserError(f"{config.data_root}/test.txt: lists one person only; a test contrasts people, so add others")
    log.info("testing %s on %s", path, config.data_root)
    with torch.no_grad():
        result = evaluate(encoder.to(device), dataset, config, device)
    print(", ".join(f"{name} {value:.4f}" for name, value in result.items()))


@cli
def main(argv: list[str] | None = None) -> None:
    configs = parse_args(argv)
    if configs.run.ablate is not None:
        ablate("SE", configs, sys.argv[1:] if argv is None else argv, parse_args, train)
    else:
        train(configs) if configs.run.mode == "train" else test(configs.run)


if __name__ == "__main__":
    main()
