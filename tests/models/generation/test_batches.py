"""Many items in one batch: each result is the one of the item alone."""

from dataclasses import replace

import pytest
import torch

from models.diffusion.solvers import SamplerConfig
from models.fast.engine import EngineConfig
from models.generation.speech import Speech
from models.generation.windows import GenerationConfig, Item, WindowGenerator, generate_batch
from models.networks.person import Person
from tests.support.generation import generate
from tests.support.golden_weights import array
from tests.support.tiny_talker import make_talker

DDIM = GenerationConfig(sampler=SamplerConfig("ddim", 3))
DDPM = GenerationConfig()
LENGTHS = (640 * 230, 640 * 30 + 7, 640 * 100, 640 * 101)


def audio(n_samples: int, index: int = 0) -> torch.Tensor:
    return torch.from_numpy(array(f"batch:audio{index}", (n_samples,)))


def vector(name: str, size: int) -> torch.Tensor:
    return torch.from_numpy(array(f"batch:{name}", (size,)))


def mixed_items(model, has_style: bool = True) -> list[Item]:
    """Four utterances of different lengths; two samples of the first; the third without a style."""
    items = []
    for i, n in enumerate(LENGTHS):
        style = vector(f"style{i}", 128) if has_style and i != 2 else None
        items.append(Item(Speech.encode(model, audio(n, i)), Person(vector(f"shape{i}", 100), style), seed=i))
    return [items[0], replace(items[0], seed=77), *items[1:]]


def alone(model, item: Item, n_samples: int, index: int, config: GenerationConfig) -> torch.Tensor:
    person = item.person.map(lambda x: x[None])
    return generate(model, audio(n_samples, index), person, config, [item.seed])[0]


@pytest.mark.parametrize("config", [DDIM, DDPM], ids=["ddim", "ddpm"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 32])
def test_each_item_as_if_alone(config, batch_size):
    model = make_talker()
    items = mixed_items(model)
    found = generate_batch(WindowGenerator(model, config), items, batch_size)
    for item, motion, index in zip(items, found, (0, 0, 1, 2, 3)):
        expected = alone(model, item, LENGTHS[index], index, config)
        assert motion.shape == expected.shape == (LENGTHS[index] // 640, 54)
        torch.testing.assert_close(motion, expected, atol=2e-5, rtol=1e-5)
    assert (found[0] - found[1]).abs().max() > 0.1


@pytest.mark.parametrize("changes", [{"style_enc_ckpt": None}, {"use_indicator": False}], ids=["no style", "no flag"])
def test_other_models(changes):
    model = make_talker(**changes)
    items = mixed_items(model, has_style=model.config.has_style)
    for item, motion, index in zip(items, generate_batch(WindowGenerator(model, DDIM), items, 3), (0, 0, 1, 2, 3)):
        expected = alone(model, item, LENGTHS[index], index, DDIM)
        torch.testing.assert_close(motion, expected, atol=2e-5, rtol=1e-5)


def test_batches_stay_full(monkeypatch):
    """Windows 3+3+1+1+2 = 10 in batches of at most 3: four rounds, the long items first."""
    model, sizes = make_talker(), []
    forward = model.denoising_net.forward
    monkeypatch.setattr(model.denoising_net, "forward", lambda m, *rest: sizes.append(len(m)) or forward(m, *rest))
    plain = GenerationConfig(sampler=SamplerConfig("ddim", 1), engine=EngineConfig(cached=False))
    generate_batch(WindowGenerator(model, plain), mixed_items(model), 3)
    assert sizes == [9, 9, 9, 3]


def test_start_state_continues_an_item():
    """Two windows at once are the first, then the second from where the first ended (DDIM: x_T is the same)."""
    model = make_talker()
    speech = Speech.encode(model, audio(640 * 200))
    person, generator = Person(vector("shape", 100), vector("style", 128)), WindowGenerator(model, DDIM)
    (both,) = generate_batch(generator, [Item(speech, person, 5)])
    halves = [Speech(speech.windows[i : i + 1], 100) for i in range(2)]
    (first,) = generate_batch(generator, [Item(halves[0], person, 5)])
    start = (first[-10:], halves[0].windows[0, -10:])
    (second,) = generate_batch(generator, [Item(halves[1], person, 5, start)])
    torch.testing.assert_close(torch.cat([first, second]), both, atol=1e-5, rtol=1e-5)
    (other,) = generate_batch(generator, [Item(halves[1], person, 5)])
    assert (other - second).abs().max() > 1e-3


def test_fresh_noise_starts_every_window_anew():
    """The same speech twice over, with the same context: only the noise tells the second window from the first."""
    model = make_talker()
    speech = Speech.encode(model, audio(640 * 100))
    twice = Speech(speech.windows.repeat(2, 1, 1), 200)
    item = Item(twice, Person(vector("shape", 100), vector("style", 128)), 5)
    reused, fresh = (
        generate_batch(WindowGenerator(model, replace(DDIM, fresh_noise=fresh)), [item])[0] for fresh in (False, True)
    )
    torch.testing.assert_close(fresh[:100], reused[:100])
    assert (fresh[100:] - reused[100:]).abs().max() > 1e-2
    (again,) = generate_batch(WindowGenerator(model, replace(DDIM, fresh_noise=True)), [item])
    assert torch.equal(again, fresh)


def test_null_style_in_a_mixed_batch_is_the_learnt_vector():
    model = make_talker()
    speech, shape = Speech.encode(model, audio(640 * 20)), vector("shape", 100)
    null = model.null_style_feat.detach()[0, 0]
    items = [Item(speech, Person(shape, style), 1) for style in (None, null, vector("style", 128))]
    absent, learnt, given = generate_batch(WindowGenerator(model, DDIM), items)
    torch.testing.assert_close(absent, learnt)
    assert (absent - given).abs().max() > 1e-3


def test_nothing_to_do():
    assert generate_batch(WindowGenerator(make_talker().eval(), DDIM), []) == []
