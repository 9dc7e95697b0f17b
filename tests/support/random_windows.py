"""A small talker whose parameters are all drawn anew, and what it is given for a window."""

import torch

from models.diffusion.window import Conditions
from models.networks.person import Person
from tests.support.golden_weights import array
from tests.support.tiny_talker import make_talker

CPU = torch.device("cpu")
SIZES = {"feature_dim": 32, "n_heads": 4, "n_layers": 3}


def draw(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(array(f"cached:{name}", shape))


def talker(**changes):
    """All parameters drawn anew, biases and norms too, so that none of them is 0 or 1 by chance."""
    model = make_talker(**{**SIZES, **changes})
    with torch.no_grad():
        for i, parameter in enumerate(model.denoising_net.parameters()):
            size = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(size * draw(f"weight{i}", *parameter.shape))
    return model


def conditions(model, n: int) -> Conditions:
    config = model.config
    width, dim = config.feature_dim, config.layout.motion_dim
    flags = torch.ones(n, 100)
    flags[-1, 40:] = 0
    return Conditions(
        draw("audio", n, 100, width),
        draw("prev_audio", n, 10, width),
        draw("prev_motion", n, 10, dim),
        Person(draw("shape", n, 100), draw("style", n, 128) if config.has_style else None),
        flags if config.use_indicator else None,
    )


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found - expected).norm() / expected.norm()).item()
