"""Command-line flags of demo.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.app.export_flags import add_export_flags
from models.app.sampling_flags import add_sampling_flags, check_sampling_flags
from models.fast.engine import PRECISIONS
from utils.config import UserParser
from utils.errors import UserError
from utils.media.panels import AUDIO_NAME, STYLE_NAME
from utils.rendering.looks import LOOKS
from utils.rendering.renderer import RENDERERS
from utils.runs.run_dir import DEFAULT_EXPERIMENT

DEFAULT_AUDIO, DEFAULT_SHAPE, DEFAULT_STYLE = "librivox_austen_0890.flac", "average.npy", "normal.npy"
DESCRIPTION = "Speech -> talking head video. Without arguments: the bundled model, speech, identity and style."


def make_parser() -> UserParser:
    """All of them."""
    parser = UserParser(description=DESCRIPTION)
    add_model_flags(parser)
    add_input_flags(parser)
    add_sampling_flags(parser)
    add_live_flags(parser)
    add_picture_flags(parser)
    add_export_flags(parser)
    parser.add_argument(
        "--mode",
        choices=("batch", "interactive"),
        default="batch",
        help="interactive: ask for inputs, model loaded once",
    )
    return parser


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Which model, and what it runs on."""
    add = parser.add_argument_group("model").add_argument
    add("--exp_name", default=DEFAULT_EXPERIMENT, help="experiment in experiments/DPT, or a prefix of it")
    add("--iter", type=int, help="iteration of the checkpoint (default: the last)")
    add("--coef_stats", type=Path, help="statistics npz, for published checkpoints")
    add(
        "--head",
        type=Path,
        help="FLAME pkl or npz (default: models/data/flame.npz or "
        "generic_model.pkl for published models, the open head for ours)",
    )
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    add("--precision", choices=PRECISIONS, default="float32", help="of the denoising network (default: float32)")


def add_input_flags(parser: argparse.ArgumentParser) -> None:
    """What is read, what is written and how often."""
    add = parser.add_argument_group("input and output").add_argument
    add(
        "-a",
        "--audio",
        default=DEFAULT_AUDIO,
        help="speech of any length: wav, flac, mp3, m4a, ogg, mp4, webm; or a folder of such files, or a .txt list",
    )
    add("-c", "--coef", default=DEFAULT_SHAPE, help="head shape: npy, or npz with 'shape'")
    add("-s", "--style", help=f"style npy (default: {DEFAULT_STYLE} if the model has it; none: null style)")
    add(
        "-o",
        "--output",
        help="mp4, in demo/output/<exp>/<iter>/ unless absolute (default: audio's name); for many inputs a folder",
    )
    add("-n", "--n_repetitions", type=int, default=1, help="samples to draw (default: 1)")
    add("--seed", type=int, default=0, help="seed of the first sample (default: 0)")
    add("--save_coef", action="store_true", help="write the coefficients (npz) beside the video")
    add("--overwrite", action="store_true", help="many inputs: make outputs anew that exist already")


def add_live_flags(parser: argparse.ArgumentParser) -> None:
    """--stream and how it runs."""
    add = parser.add_argument_group("live").add_argument
    add(
        "--stream",
        action="store_true",
        help="take audio as it comes (-a - for raw 16 bit mono PCM on stdin, or a named pipe, mic, a file) and give "
        "frames as they are made (-o - for lines of JSON on stdout, the default; .ndjson, .csv; .npz, .mp4 at the end)",
    )
    add("--hop", type=float, default=0.6, help="seconds of motion made at once, 0.2 to 4 (default: 0.6)")
    add("--look_ahead", type=float, default=0.2, help="seconds of audio waited for beyond a hop (default: 0.2)")
    add("--pcm_rate", type=int, default=16000, help="of raw PCM, Hz (default: 16000)")


def add_picture_flags(parser: argparse.ArgumentParser) -> None:
    """What the video looks like; `make_film` reads them."""
    add = parser.add_argument_group("picture").add_argument
    add("--black_bg", action="store_true", help="black background")
    add("--no_head", action="store_true", help="leave out the head motion")
    add("--look", choices=LOOKS, default="clay", help="clay or, on the open head, skin (default: clay)")
    add("-t", "--texture", type=Path, help="texture image on the look's UVs")
    add("--size", type=int, default=640, help="pixels of the picture (default: 640)")
    add("--fov", type=float, default=18, help="field of view, degrees (default: 18)")
    add("--yaw", type=float, default=0, help="camera round the head, degrees to the person's left (default: 0)")
    add(
        "--renderer",
        choices=RENDERERS,
        default="fast",
        help="fast or, with the same pictures, pyrender (default: fast)",
    )
    add("--side_by_side", action="store_true", help="with -n: all samples in one video, labelled with their seeds")
    add("--caption", nargs="?", const=AUDIO_NAME, default="", help=f"a line of text at the bottom of the video, in "
        f"which {AUDIO_NAME} is the name of the speech's file and {STYLE_NAME} that of the style (without a text: the "
        "file's name)")  # fmt: skip
    add("--no_video", action="store_true", help="coefficients only; needs no OpenGL")


def check_numbers(args: argparse.Namespace) -> None:
    """Raises UserError for a number that no model can use."""
    if args.n_repetitions < 1:
        raise UserError(f"--n_repetitions {args.n_repetitions}: must be at least 1")
    if not 0 <= args.seed < 2**63 - args.n_repetitions:
        raise UserError(f"--seed {args.seed}: must lie between 0 and 2^63 - 1")
    if args.side_by_side and args.no_video:
        raise UserError("--side_by_side: is about the video; leave out --no_video")
    check_sampling_flags(args)
