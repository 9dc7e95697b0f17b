"""Train or test the denoising network (paper section 3.3).

python main_dpt.py --exp_name NAME --data_root LMDB_FOLDER --use_indicator --scheduler Warmup --audio_model hubert \\
    --style_enc_ckpt experiments/SE/NAME/checkpoints/iter_0100000.pt [--no_head_pose]
python main_dpt.py --exp_name NAME --mode test      (the last checkpoint, with the run's own flags)
"""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

import numpy as np
import torch
from torch import Tensor

from datasets.batches import batches_from
from datasets.motion_pairs import MotionPairs
from datasets.sources.clip_sources import ClipSources, statistics_of
from datasets.sources.folders import sources_of
from datasets.spoken_clips import validation_clips
from models.app.bundled import style_encoder_file
from models.diffusion.schedule import Schedule
from models.heads.flame import Flame, load_flame
from models.metrics.validation import Validator
from models.networks.loading import checkpoint_of, load_talker
from models.networks.talker import Talker
from models.training.ablation import ablate
from models.training.distillation import Distillation
from models.training.first_networks import frozen_style_encoder, starting_model
from models.training.flags import Configs, parse_args
from models.training.losses import MotionLoss
from models.training.objective import Ends, TalkerObjective
from models.training.validation_clips import N_VIDEOS, ValidationClips, check_video
from models.training.validation_loss import validation_loss
from utils.coefs import CoefStats, MotionCodec
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.runs.run_dir import find_checkpoint, iter_name
from utils.training import training_run
from utils.training.data_order import EndlessBatches, Share, to_device
from utils.training.preflight import Problems, freeze
from utils.training.process_group import end_processes, start_processes
from utils.training.randomness import Randomness
from utils.training.run_config import OpenedRun
from utils.training.train_step import step_maker
from utils.training.trainer import Task
from utils.training.training_run import Plan

log = logging.getLogger(__name__)


def pairs(configs: Configs, codec: MotionCodec, split: str) -> MotionPairs:
    config = configs.run
    store = ClipSources(config.data_root)
    repeats = config.repeat_clips if split == "train" else 1
    return MotionPairs(store, store.table(split), codec, configs.model.n_motions, config.seed, repeats)


@dataclass(frozen=True)
class Setup:
    """The objective, statistics and head that training and testing share."""

    objective: TalkerObjective
    stats: CoefStats
    codec: MotionCodec
    flame: Flame
    device: torch.device

    @classmethod
    def make(
        cls, configs: Configs, stats: CoefStats | None, device: torch.device, problems: Problems
    ) -> "Setup | None":
        """Load everything; None if something is missing, which is then noted in `problems`."""
        run, options, check, before = configs.run, configs.model, problems.check, len(problems.found)
        stats = stats or check(statistics_of, run.data_root, run.stats_file)
        flame = check(load_flame, run.head)
        style_encoder = check(frozen_style_encoder, options, stats, device)
        if stats is None or flame is None or len(problems.found) > before:
            return None
        flame = flame.to(device)
        codec = MotionCodec(options.layout, stats)
        loss = MotionLoss(configs.loss, options.target, codec.to(device), flame)
        schedule = Schedule.make(options.diff_schedule, options.n_diff_steps).to(device)
        return cls(TalkerObjective(configs.objective, schedule, loss, style_encoder), stats, codec, flame, device)

    def distilling(self, model: Talker, teacher: Path) -> "Setup":
        """The same set-up with an objective that learns the teacher's sampling paths.

        Raises:
            UserError: this teacher cannot be distilled to that number of steps.
        """
        from_teacher, _ = load_talker(teacher)
        from_teacher.audio_encoder = model.audio_encoder  # both are equal, so one is enough
        try:
            objective = Distillation(self.objective, from_teacher.to(self.device), model.config.distilled_steps)
        except ValueError as error:
            raise UserError(f"--distilled_steps {model.config.distilled_steps}: {error}") from error
        return replace(self, objective=objective)


def check_style_swap(configs: Configs) -> None:
    """Raises UserError if `style_swap` and the folders of `data_root` do not go together."""
    shares = configs.objective.style_swap
    if not any(shares):
        return
    given, folders = (
        f"--style_swap {' '.join(f'{share:g}' for share in shares)}:",
        len(sources_of(configs.run.data_root)),
    )
    if folders == 1:
        raise UserError(f"{given} takes styles from another folder of --data_root; name two folders there, separated "
                        "by commas")  # fmt: skip
    if len(shares) not in (1, folders):
        raise UserError(f"{given} --data_root has {folders} folders; give one share, or one for each folder")


def train(configs: Configs) -> None:
    config, distilled = configs.run, configs.model.distilled_steps
    accelerator = start_processes(config.device, config.matmul_precision, config.cuda_graph)

    def make_plan(run: OpenedRun, problems: Problems) -> Plan | None:
        check = problems.check
        torch.manual_seed(config.seed)
        model, checkpoint = check(starting_model, configs, run.resumed or config.init_from) or (None, None)
        # A network keeps the statistics that it was trained with, even on other data.
        setup = Setup.make(configs, checkpoint and checkpoint.stats, accelerator.device, problems)
        # Check the clips even if the statistics are missing.
        codec = MotionCodec(configs.model.layout, CoefStats.identity()) if setup is None else setup.codec
        train_set, val_set = (check(pairs, configs, codec, split) for split in ("train", "val"))
        share = Share(accelerator.process_index, accelerator.num_processes)
        if train_set is not None:
            check(EndlessBatches, len(train_set), config.batch_size, config.seed, 0, share)
        if model is not None:
            check(freeze, model, config.freeze)
        check(check_style_swap, configs)
        if distilled and config.init_from is None:
            problems.found.append(f"--distilled_steps {distilled}: needs --init_from, the model to distil")
        random = Randomness(config.seed, accelerator.device, share.process, share.processes)
        make_step = check(step_maker, config.cuda_graph, accelerator, [random.device])
        if config.val_video_iter > 0 and share.process < N_VIDEOS:
            check(check_video)
        if problems.found:
            return None
        # Each of these is None only after a problem.
        assert setup is not None and model is not None and make_step is not None
        assert train_set is not None and val_set is not None
        model = model.to(setup.device).train()
        if distilled and config.init_from is not None:
            setup = setup.distilling(model, config.init_from)
        task = make_task(configs, setup, model, val_set, random, share)
        return Plan(
            with_clips(task, configs, setup, run.folder, share),
            batches_from(train_set, config, setup.device, share),
            {"clips, training": len(train_set), "clips, validation": len(val_set)},
            checkpoint if run.resumed else None,
            lambda: compile_blocks(model, setup.objective),
            make_step,
        )

    training_run.train("DPT", config, configs.resolved(), accelerator, make_plan)
    end_processes()


def make_task(
    configs: Configs, setup: Setup, model: Talker, val_set: MotionPairs, random: Randomness, share: Share
) -> Task[Talker]:
    def prepare(batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Ends]:
        ends = setup.objective.draw_ends(len(batch["motion"]), configs.model.n_motions, random)
        return to_device(batch, setup.device), to_device(ends, setup.device)

    def loss(prepared: tuple[dict[str, Tensor], Ends]) -> tuple[Tensor, dict[str, Tensor]]:
        batch, ends = prepared
        terms = setup.objective(model, batch, random, ends)
        return configs.loss.total(terms), terms

    return Task(
        network=model,
        begin_step=random.begin,
        prepare=prepare,
        loss=loss,
        validate=lambda network: validation_loss(setup.objective, network, val_set, configs.run.seed, share),
        checkpoint=lambda network, step, state: checkpoint_of(network, setup.stats, step, state),
    )


def with_clips(task: Task[Talker], configs: Configs, setup: Setup, folder: Path, share: Share) -> Task[Talker]:
    """The task with a validation that also generates a few clips, for metrics, curves and videos."""
    config = configs.run
    if config.val_clips == 0:
        return task
    store = ClipSources(config.data_root)
    clips = validation_clips(store, store.clips("val"), config.val_clips, phones=store.phones())
    style = setup.objective.style_encoder
    try:
        codec = setup.codec.to(setup.device)
        validator = Validator(clips, setup.flame, codec, style and (style, codec))
    except UserError as error:  # for example, the user's head has no lip mask
        log.warning("no motion metrics: %s", error)
        return task
    generated = ValidationClips(validator, setup.flame, share)

    def illustrate(step: int) -> dict[str, np.ndarray]:
        if config.val_video_iter and (step % config.val_video_iter == 0 or step == config.max_iter):
            generated.write_videos(folder / "videos" / iter_name(step))
        return {"mouth_opening": generated.curves()} if share.process == 0 else {}

    validate = task.validate
    return replace(task, validate=lambda net: validate(net) | generated.scalars(net), illustrate=illustrate)


def compile_blocks(model: Talker, objective: TalkerObjective) -> None:
    """Compile the losses, and one layer of each network for all of its layers."""
    model.denoising_net.compile_layers()
    model.audio_encoder.compile_layers()
    objective.loss.compile()


def test(configs: Configs) -> None:
    path = find_checkpoint("DPT", configs.run.exp_name, configs.run.iter)
    model, checkpoint = load_talker(path)
    if model.config.distilled_steps:
        raise UserError(f"--exp_name {configs.run.exp_name}: is a distilled model; measure it with evaluate.py")
    recorded, ours = model.config.style_enc_ckpt, configs.model.style_enc_ckpt
    if recorded and ours in (None, recorded):  # the flag overrides it
        ours = str(style_encoder_file(recorded))
    configs = replace(configs, model=replace(model.config, style_enc_ckpt=ours))
    problems = Problems()
    setup = Setup.make(configs, checkpoint.stats, pick_device(configs.run.device), problems)
    problems.report()
    assert setup is not None  # or `report` had raised
    log.info("testing %s on %s", path, configs.run.data_root)
    dataset = pairs(configs, setup.codec, "test")
    result = validation_loss(setup.objective, model.to(setup.device), dataset, configs.run.seed)
    print(", ".join(f"{name} {value:.6g}" for name, value in result.items()))


@cli
def main(argv: list[str] | None = None) -> None:
    configs = parse_args(argv)
    if configs.run.ablate is not None:
        ablate("DPT", configs, sys.argv[1:] if argv is None else argv, parse_args, train)
    else:
        train(configs) if configs.run.mode == "train" else test(configs)


if __name__ == "__main__":
    main()
