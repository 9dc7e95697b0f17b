"""The guided prediction of a window's frames, with the whole network evaluated at every step."""

import torch
from torch import Tensor

from models.diffusion.guidance import Guidance
from models.diffusion.solvers import Denoise
from models.diffusion.window import Conditions, persons, with_folding
from models.networks.talker import Talker


def guided_denoiser(model: Talker, given: Conditions, guidance: Guidance) -> Denoise:
    """The guided prediction of the window's frames as a function of (x_t, t); all branches run as one batch.

    Null audio replaces the current window's features only; every branch sees the previous ones.
    This is the plain twin of `Engine`.
    """
    guidance = with_folding(guidance, model)
    branches = guidance.branches()
    n_branches, batch = len(branches), len(given.audio)
    null_audio = model.null("audio").expand_as(given.audio)
    audio = torch.cat([given.audio if "audio" in seen else null_audio for seen in branches])
    memory = torch.cat([given.prev_audio.repeat(n_branches, 1, 1), audio], dim=1)
    person = persons(model, given, guidance, branches)
    prev_motion = given.prev_motion.repeat(n_branches, 1, 1)
    indicator = None if given.indicator is None else given.indicator.repeat(n_branches, 1)

    def denoise(x_t: Tensor, t: int) -> Tensor:
        motion = torch.cat([prev_motion, x_t.repeat(n_branches, 1, 1)], dim=1)
        step = torch.full((n_branches * batch,), t, dtype=torch.long, device=x_t.device)
        prediction = model.denoising_net(motion, memory, person, step, indicator)
        window = prediction[:, model.config.n_prev_motions :]
        return guidance.combine(list(window.chunk(n_branches)))

    return denoise
