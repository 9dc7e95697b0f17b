"""The models shipped with the repository: small, complete, and they really follow speech and style."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speech.speech_scores import pool_mouths, score_mouth
from benchmarks.styles.bundled import head_std_deg
from models.app.bundled import DEFAULT_STYLE
from models.diffusion.solvers import SamplerConfig
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import GenerationConfig
from models.heads.flame import load_flame
from models.heads.mouth import opening_mm
from models.metrics.lips import ClosureRule
from models.networks.person import Person
from models.tracking.carry import opening_on
from models.tracking.embedding import LandmarkHead
from utils.media.alignment import align_phones, read_transcripts
from utils.media.audio import load_audio
from utils.motion_file import load_motion, load_shape, load_style
from utils.runs.run_dir import ROOT, find_checkpoint, style_folder

EXPERIMENTS = ("embedded", "embedded-no_head")  # their style encoders' names as well
TALKERS = (*EXPERIMENTS, "embedded-fast")
STYLES = ["normal", "big_mouth", "small_mouth", "smile", "serious", "large_head_movements", "small_head_movements"]
INPUT = ROOT / "demo" / "input"
QUICK = GenerationConfig(sampler=SamplerConfig("ddim", 10))


@pytest.fixture(scope="module", params=TALKERS)
def animator(request):
    return Animator.load(find_checkpoint("DPT", request.param, None), None, torch.device("cpu"))


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def style(animator: Animator, name: str) -> np.ndarray:
    folder = INPUT / "style" / style_folder(animator.model.config.style_enc_ckpt)
    return load_style(folder / f"{name}.npy", animator.model.config.d_style)


def generate(animator: Animator, recording: str, style_name: str, seeds: list[int]):
    audio = load_audio(INPUT / "audio" / f"{recording}.flac")
    return animator(
        audio, Person(load_shape(INPUT / "coef" / "average.npy"), style(animator, style_name)), QUICK, seeds
    )


def test_shipped_weights_are_small():
    runs = ("embedded", "embedded-no_head", "embedded-fast")
    files = [file for run in runs for file in ROOT.glob(f"experiments/*/{run}/checkpoints/*.pt")]
    files += (ROOT / "models" / "data").iterdir()
    assert len(files) >= 8
    assert sum(file.stat().st_size for file in files) < 60e6


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_bundled_styles_are_what_the_style_encoder_makes_of_the_bundled_motion(experiment):
    checkpoint = find_checkpoint("SE", experiment, None)
    extractor = StyleExtractor.load(checkpoint, None, torch.device("cpu"))
    for name in STYLES:
        stored = load_style(INPUT / "style" / style_folder(checkpoint) / f"{name}.npy", 128)
        made = extractor(load_motion(INPUT / "motion" / f"{name}.npz"))
        np.testing.assert_allclose(stored, made, atol=1e-4)
    natural = load_style(INPUT / "style" / style_folder(checkpoint) / "natural.npy", 128)
    normal = extractor(load_motion(INPUT / "motion" / "normal.npz"))
    length = np.linalg.norm(normal)
    assert np.linalg.norm(natural) == pytest.approx(length, rel=1e-3)
    assert 0.6 < natural @ normal / length**2 < 0.8  # halfway to a style nearly at right angles: a real person's


def test_mouth_follows_real_speech(animator, flame):
    """At least 80 % of the forced-aligned p, b, m find shut lips; open vowels are open."""
    transcripts = read_transcripts(INPUT / "audio" / "transcripts.tsv")
    scores = []
    for name in ("librivox_austen_0930", "arctic_a0009", "librivox_austen_0890"):
        phones = align_phones(load_audio(INPUT / "audio" / f"{name}.flac"), transcripts[name])
        scores.append(
            score_mouth(name, phones, opening_mm(flame, generate(animator, name, "normal", [0])[0]), ClosureRule())
        )
    total = pool_mouths(scores)
    assert total.closures_found >= 0.8 * total.closures_expected > 5
    assert total.opening_at_vowels_mm > 3


def test_the_mouth_is_shut_in_silence(animator, flame):
    """In the model's default style: on average within 2 mm, as people's are."""
    given = Person(np.zeros(100, np.float32), style(animator, Path(DEFAULT_STYLE).stem))
    motions = animator(np.zeros(16000 * 6, np.float32), given, QUICK, [0, 1])
    assert np.mean([opening_mm(flame, motion) for motion in motions]) < 2


def test_styles_differ(animator, flame):
    def opening(name):
        motions = generate(animator, "arctic_a0009", name, [0, 1])
        return np.percentile(np.concatenate([opening_mm(flame, m) for m in motions]), 90)

    assert opening("big_mouth") > 1.5 * opening("small_mouth")
    if animator.model.config.layout.head_pose:
        large, small = (
            np.mean([head_std_deg(m) for m in generate(animator, "librivox_austen_0870", name, [0, 1])])
            for name in ("large_head_movements", "small_head_movements")
        )
        assert large > 1.5 * small
    else:
        assert not generate(animator, "arctic_a0009", "normal", [0])[0].pose[:, :3].any()


def test_mouths_of_all_heads_open_and_shut_alike(flame):
    """The model moves the average head; on others the openings are solved anew, in mm between eyes 90 mm apart."""
    fresh = Animator.load(find_checkpoint("DPT", "embedded", None), None, torch.device("cpu"))
    spoken = load_motion(INPUT / "motion" / "normal.npz")
    normalised = fresh.codec.encode(torch.from_numpy(spoken.exp), torch.from_numpy(spoken.pose))
    average, older = (load_shape(INPUT / "coef" / f"{name}.npy") for name in ("average", "male_older"))
    plain = fresh.decode(normalised, older)
    fresh.know_head(flame.head)
    np.testing.assert_array_equal(fresh.decode(normalised, average).exp, plain.exp)
    carried, mouth = fresh.decode(normalised, older), LandmarkHead(flame.head)

    def opening(motion, shape):
        return opening_on(
            mouth, *(torch.from_numpy(x).double() for x in (shape, motion.exp, motion.pose[:, 3]))
        ).numpy()

    wanted = opening(plain, np.zeros(100))
    np.testing.assert_allclose(opening(carried, older), wanted, atol=0.05)
    assert np.abs(opening(plain, older) - wanted).max() > 0.4
