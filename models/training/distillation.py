"""Distils a talker into one that needs few steps, with one network evaluation per step.

Guidance is folded in as by Meng et al. 2023 ("On Distillation of Guided Diffusion Models"): the student takes the
scales as input and predicts the teacher's guided prediction. Steps are merged as by Salimans & Ho 2022 ("Progressive
Distillation"), but all at once: between two of the student's times the teacher takes several ddim steps, and the
student learns the x_0 with which one step ends at the same place. Training follows the teacher's paths from pure noise,
so the student sees the same inputs as in sampling.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.diffusion.guidance import Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.solvers import ddim_steps, even_times
from models.diffusion.window import Conditions
from models.networks.conditions import CONDITIONS
from models.networks.person import Person
from models.networks.talker import Talker
from models.training.objective import Ends, TalkerObjective, average_clips, to, truncate, without
from utils.training.randomness import Randomness

_NULL = 0.1  # fraction of samples with the null style, and likewise for each other condition of the person
# those with a target; the teacher needs no smoothing
TERMS = ("noise", "vert", "vel", "head_angle", "head_vel", "lips")


def make_student(teacher: Talker, steps: int) -> Talker:
    """The network to train. It starts with the teacher's weights, and zero weights for the scales."""
    student = Talker(replace(teacher.config, distilled_steps=steps), teacher.audio_encoder)
    weights, key = teacher.state_dict(), "denoising_net.person_proj.weight"
    student.load_state_dict({**weights, key: F.pad(weights[key], (0, len(student.config.columns)))})
    return student


def only_denoiser(student: Talker) -> None:
    """Freeze all but the denoising network: features, start and null vectors stay the teacher's."""
    student.requires_grad_(False)
    student.denoising_net.requires_grad_(True)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluate without dropout, then restore every module's mode, since the audio encoder is shared."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


class Distillation(TalkerObjective):
    """Batch of clip pairs -> unweighted loss terms of the student along its teacher's paths."""

    def __init__(self, objective: TalkerObjective, teacher: Talker, steps: int) -> None:
        """
        Args:
            objective: of the teacher; one step of the student replaces `config.teacher_steps` of the teacher's.

        Raises:
            ValueError: the teacher has too few steps, or predicts the noise.
        """
        super().__init__(objective.config, objective.schedule, objective.loss, objective.style_encoder)
        if teacher.config.target != "sample":
            raise ValueError("--target noise: only networks that predict the sample can be distilled")
        self.teacher, self.each = teacher.requires_grad_(False), objective.config.teacher_steps
        times = even_times(teacher.config.n_diff_steps, steps * self.each)
        self.times = times[:: self.each]  # the student's
        self.path = ddim_steps(self.schedule, "sample", times)
        self.strides = ddim_steps(self.schedule, "sample", self.times)
        device = teacher.device  # tables made here, because a captured step cannot copy from the host
        self.at = torch.tensor(self.times[:-1], device=device)
        columns = [CONDITIONS[name] for name in teacher.config.columns]
        self.scales = torch.tensor([one.distilled_scales for one in columns], device=device)
        self.usual = torch.tensor([one.own_scale for one in columns], device=device)

    def __call__(
        self, model: Talker, batch: dict[str, Tensor], random: Randomness, ends: Ends | None = None
    ) -> dict[str, Tensor]:
        """See `TalkerObjective`; `model` is the student."""
        size, motion, batch = len(batch["motion"]), batch["motion"], self.heard(model, batch, random)
        device, steps = motion.device, len(self.strides)
        ends = [to(end, device) for end in ends or self.draw_ends(size, motion.shape[2], random)]
        with torch.no_grad(), _evaluating(self.teacher):
            given = self._conditions(batch, random, ends)
            scales = self._draw_scales(size, random)
            x_T = random.normal(size, *motion.shape[2:], clips=2)
            noisy, targets = self._paths(given, scales, x_T)
        n_prev = model.config.n_prev_motions
        every = given.map(lambda value: value.repeat(steps, *[1] * (value.dim() - 1)))
        output = model.denoising_net(
            torch.cat([every.prev_motion, noisy.flatten(0, 1)], dim=1),
            torch.cat([every.prev_audio, every.audio], dim=1),
            model.person_vector(every.person, scales.repeat(steps, 1)),
            self.at.repeat_interleave(2 * size),
            every.indicator,
        )
        first, second = output.float().unflatten(0, (steps, 2, size)).unbind(1)
        shape = batch["shape"][:, 0, 0].repeat(steps, 1)
        prev = motion[:, 0, -n_prev:].repeat(steps, 1, 1)
        stops = [None if end is None else end.repeat(steps) for end in ends]
        truth = targets.unflatten(1, (2, size)).unbind(1)
        with torch.autocast(device.type, enabled=False):
            terms = average_clips(
                self.loss(first.flatten(0, 1), truth[0].flatten(0, 1), None, x_T, shape, stops[0]),
                self.loss(second.flatten(0, 1), truth[1].flatten(0, 1), prev, x_T, shape, stops[1]),
            )
        return {name: value for name, value in terms.items() if name in TERMS}

    def _conditions(self, batch: dict[str, Tensor], random: Randomness, ends: Ends) -> Conditions:
        """Conditions of the 2B windows: those of the first clips, then those of the second."""
        teacher, motion, options = self.teacher, batch["motion"], self.teacher.config
        size, n_prev = len(motion), options.n_prev_motions
        start_motion, start_audio = teacher.start(size)
        audio, prev_audio = self._audio_features(teacher, batch["audio"], ends)
        truth = [truncate(motion[:, i], ends[i], 1, options.pad_mode) for i in (0, 1)]
        return Conditions(
            audio=audio,
            prev_audio=torch.cat([start_audio, prev_audio]),
            prev_motion=torch.cat([start_motion, motion[:, 0, -n_prev:]]),
            person=self._sometimes_without(self._person(teacher, batch, random), random),
            indicator=self._indicator(teacher, ends, truth),
        )

    def _sometimes_without(self, person: Person[Tensor], random: Randomness) -> Person[Tensor]:
        """Persons (2B), some with null vectors."""
        size = len(person.shape) // 2
        missing = {name: random.uniform(size, 1, clips=2)[:, 0] < _NULL for name in person.given}
        return without(self.teacher, person, missing)

    def _paths(self, given: Conditions, scales: Tensor, x_T: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's paths from x_T: noisy inputs of the student's K steps and targets x_0, each (K, 2B, L, D)."""
        options = self.teacher.config
        each = dict(zip(options.columns, scales[:, :, None, None].unbind(1)))
        guidance = Guidance(options.conditions, options.cfg_mode, each)
        denoise = guided_denoiser(self.teacher, given, guidance)
        x, noisy, targets = x_T, [], []
        for i, stride in enumerate(self.strides):
            start = x
            for step in self.path[i * self.each : (i + 1) * self.each]:
                x = step.keep * x + step.data * denoise(x, step.t).float()
            noisy.append(start)
            targets.append((x - stride.keep * start) / stride.data)
        return torch.stack(noisy), torch.stack(targets)

    def _draw_scales(self, size: int, random: Randomness) -> Tensor:
        """Guidance scales (2 size, columns): the default ones for about half, random ones for the others."""
        low, high = self.scales.unbind(1)
        drawn = low + (high - low) * random.uniform(size, len(low), clips=2)
        return torch.where(random.uniform(size, 1, clips=2) < 0.5, self.usual, drawn)
