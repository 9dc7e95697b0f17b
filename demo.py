"""Speech -> talking head video. Without arguments: the bundled model, speech, identity and style.

python demo.py
python demo.py -a speech.wav -s smile.npy -o smile.mp4
python demo.py -a recordings/ -o videos/        (or a .txt list of paths: one video each)
microphone | python demo.py --stream -a -       (frames as lines of JSON while the audio comes)
python demo.py --exp_name NAME --iter 110000 -a speech.wav -c shape.npy -s style.npy -o out.mp4 -n 3 -ss 3 -sa 1.15
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.app.demo_flags import DEFAULT_STYLE, check_numbers, make_parser
from models.app.export_flags import exporter_from
from models.app.head_film import HeadFilm
from models.app.recording import Recording
from models.app.sampling_flags import generation_config
from models.app.speaking import Speaker, Titles, numbered
from models.exports.motion_export import export_path, parse_formats
from models.fast.engine import EngineConfig
from models.generation.animator import Animator
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame, load_flame
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.input_list import is_many, output_names, read_inputs
from utils.media.panels import STYLE_NAME
from utils.motion_file import load_shape, load_style
from utils.rendering.looks import dress
from utils.rendering.renderer import RenderStyle
from utils.runs.run_dir import ROOT, find_checkpoint, style_folder

log = logging.getLogger(__name__)
INPUT, OUTPUT = ROOT / "demo" / "input", ROOT / "demo" / "output"
FLAME_FILES = (ROOT / "models" / "data" / "flame.npz", ROOT / "models" / "data" / "generic_model.pkl")


@dataclass(frozen=True)
class Model:
    """A loaded talker and where its files live."""

    animator: Animator
    folder: Path  # <exp>/iter_XXXXXXX
    styles: Path | None  # <SE exp>/iter_XXXXXXX
    published: bool

    @classmethod
    def load(cls, args) -> "Model":
        checkpoint = find_checkpoint("DPT", args.exp_name, args.iter)
        animator = Animator.load(checkpoint, args.coef_stats, pick_device(args.device))
        style_enc = animator.model.config.style_enc_ckpt
        styles = style_folder(style_enc) if style_enc else None
        return cls(animator, Path(checkpoint.parent.parent.name) / checkpoint.stem, styles, animator.published)


def choose_head(path: Path | None, published: bool) -> Path | None:
    """`--head`; else for published models the FLAME file in models/data, if there is one; else the open head (None)."""
    if path is not None or not published:
        return path
    for candidate in FLAME_FILES:
        if candidate.is_file():
            return candidate
    log.warning(
        "this model moves FLAME, whose coefficients mean nothing on the open head: the video will look wrong; "
        "give --head generic_model.pkl (setup/README.md tells how to get it)"
    )
    return None


def find_input(name: str, folders: list[Path]) -> Path:
    """A file as given, or in one of the demo's input folders.

    Raises:
        UserError: it is in none of them; the message lists what the first existing folder has.
    """
    candidates = [Path(name), *(folder / name for folder in folders)]
    for path in candidates:
        if path.is_file():
            return path
    if Path(name).is_dir():
        raise UserError(f"{name}: is a folder, not a file; give a file in it")
    files = [p for folder in folders if folder.is_dir() for p in sorted(folder.iterdir()) if p.is_file()]
    offered = [p.name for p in files if p.suffix not in (".md", ".tsv", ".txt")]
    raise UserError(f"{name}: no such file; bundled ones: {', '.join(offered[:20]) or 'none'}")


def read_style(name: str | None, model: Model) -> np.ndarray | None:
    """The style vector, or None for the null style.

    Raises:
        UserError: no such file, the wrong size, made by another style encoder, or a model without style input.
    """
    if model.styles is None:
        if name is not None:
            raise UserError(f"--style {name}: {model.folder} was trained without a style encoder; leave out --style")
        return None
    folder = INPUT / "style" / model.styles
    if name is None:
        default = folder / DEFAULT_STYLE
        return load_style(default, model.animator.model.config.d_style) if default.is_file() else None
    path = find_input(name, [folder, INPUT / "style"])
    made_by = path.resolve().parent
    if made_by.name.startswith("iter_") and Path(made_by.parent.name, made_by.name) != model.styles:
        raise UserError(
            f"--style {path}: made by style encoder {made_by.parent.name}/{made_by.name}, but {model.folder} needs "
            f"{model.styles}; extract it again with extract_style.py"
        )
    return load_style(path, model.animator.model.config.d_style)


def make_config(args, model: Model) -> GenerationConfig:
    """Guidance, sampler and precision from the flags, with the model's own settings as defaults."""
    config = generation_config(args, model.animator.model.config, model.published)
    return replace(config, engine=EngineConfig(args.precision))


def output_paths(args, name: Path, model: Model) -> list[Path]:
    """Where the videos of one input go: one path, or `<stem>_000.mp4`... for several repetitions with a video each."""
    path = name if name.is_absolute() else OUTPUT / model.folder / name
    if args.n_repetitions == 1 or args.side_by_side:
        return [path]
    return [numbered(path.with_suffix(".mp4"), i) for i in range(args.n_repetitions)]


def results(args, path: Path) -> list[Path]:
    """The files made for one of `output_paths`, by which a folder's finished recordings are known."""
    formats = parse_formats(args.export) if args.export is not None else ()
    samples = [numbered(path, i) for i in range(args.n_repetitions)] if args.side_by_side else [path]
    exports = [export_path(sample.with_suffix(""), name) for sample in samples for name in formats]
    return [path.with_suffix(".npz" if args.no_video else ".mp4"), *exports]


def make_film(args, flame: Flame) -> HeadFilm | None:
    """What draws the video, as the picture flags say; None with --no_video.

    Raises:
        UserError: no OpenGL (with the packages to install), or an unusable texture.
    """
    if args.no_video:
        return None
    look = dress(flame.head, args.look, args.texture)
    style = RenderStyle(args.size, args.black_bg, look.texture, args.fov, args.renderer)
    return HeadFilm(Flame(look.head), style, args.yaw)


def titles(args, model: Model) -> Titles:
    """The text on the videos, the name of the style filled in."""
    style = Path(args.style or DEFAULT_STYLE).stem if model.styles is not None else "none"
    return Titles((args.caption or "").replace(STYLE_NAME, style), args.side_by_side)


def make_speaker(args, model: Model, flame: Flame, film: HeadFilm | None) -> Speaker:
    """The person of the flags."""
    return Speaker(
        model.animator,
        load_shape(find_input(args.coef, [INPUT / "coef"])),
        read_style(args.style, model),
        make_config(args, model),
        [args.seed + i for i in range(args.n_repetitions)],
        film,
        args.save_coef,
        args.no_head,
        exporter_from(args, flame, dress(flame.head, args.look, args.texture)),
        titles(args, model),
    )


def run(args, model: Model, flame: Flame) -> None:
    """One utterance: read everything, generate, write."""
    name = Path(args.output or f"{Path(args.audio).stem}.mp4")
    if name.suffix.lower() != ".mp4":
        raise UserError(f"--output {name}: must end in .mp4")
    speaker = make_speaker(args, model, flame, None)
    recording = Recording.read(find_input(args.audio, [INPUT / "audio"]))
    replace(speaker, film=make_film(args, flame)).speak(recording, output_paths(args, name, model))


def run_many(args, model: Model, flame: Flame) -> None:
    """Every recording of a folder or list; those whose outputs exist already are left out.

    Raises:
        UserError: some could not be made (each was named on a line of its own before).
    """
    folder = Path(args.output or "")
    if folder.suffix.lower() == ".mp4":
        raise UserError(f"--output {folder}: is one file, but --audio {args.audio} names many; give a folder")
    inputs = read_inputs(args.audio)
    outputs = [output_paths(args, folder / f"{name}.mp4", model) for name in output_names(inputs)]
    wanted = [
        (source, paths)
        for source, paths in zip(inputs, outputs)
        if args.overwrite or not all(made.exists() for path in paths for made in results(args, path))
    ]
    if len(wanted) < len(inputs):
        done = len(inputs) - len(wanted)
        log.info("%d of %d are there already (--overwrite makes them anew)", done, len(inputs))
    if not wanted:
        return
    speaker = make_speaker(args, model, flame, make_film(args, flame))
    failed = speaker.speak_all(*map(list, zip(*wanted)))
    if failed:
        names = ", ".join(path.name for path in failed)
        raise UserError(f"--audio {args.audio}: {len(failed)} of {len(inputs)} could not be made: {names}")


def run_stream(args, model: Model, flame: Flame) -> None:
    """Audio as it comes, frames as they are made."""
    from models.app.live_session import open_output, run_live
    from models.generation.live import LIVE_SAMPLER, LIVE_STEPS, LiveConfig, LiveTalker
    from utils.media.live_audio import MICROPHONE, STDIN, live_blocks

    if args.n_repetitions > 1:
        raise UserError(f"--n_repetitions {args.n_repetitions}: a stream is one sample; use --seed")
    if args.caption or args.side_by_side:
        flag = "--caption" if args.caption else "--side_by_side"
        raise UserError(f"{flag}: not with --stream; save its .npz, then render_motion.py")
    if args.export:
        raise UserError("--export: not from a stream; save its .npz, then export_motion.py")
    waits = args.audio in (STDIN, MICROPHONE) or Path(args.audio).is_fifo()  # for the speaker: never fall behind
    live = LiveConfig(hop=args.hop, look_ahead=args.look_ahead, catch_up=waits)
    if not model.published:
        args.sampler = args.sampler or LIVE_SAMPLER
        if args.steps is None:
            args.steps = model.animator.model.config.distilled_steps or LIVE_STEPS
    speaker = make_speaker(args, model, flame, None)
    source = args.audio if waits else str(find_input(args.audio, [INPUT / "audio"]))
    name = args.output or "-"
    if name != "-":
        name = str(output_paths(args, Path(name), model)[0])
    film = make_film(args, flame) if name.lower().endswith(".mp4") else None
    blocks = live_blocks(source, args.pcm_rate)
    output = open_output(name, film)
    blocks = output.listen(blocks) if film is not None else blocks
    talker = LiveTalker(model.animator, (speaker.shape, speaker.style), speaker.config, live, args.seed)
    log.info("%s", run_live(talker, blocks, output, speaker.posed))


def interactive(args, model: Model, flame: Flame) -> None:
    """Ask for inputs until an empty audio name or the end of input; an answer left empty keeps the last value."""
    print(
        "Give an audio file to animate (empty line: quit). For the other questions an empty answer keeps [the value]."
    )
    while True:
        try:
            audio = input("audio: ").strip()
            if not audio:
                return
            answers = {key: input(f"{key} [{getattr(args, key)}]: ").strip() for key in ("style", "coef", "output")}
        except EOFError:
            return
        args.audio = audio
        for key, answer in answers.items():
            setattr(args, key, answer or (None if key == "output" else getattr(args, key)))
        try:
            run(args, model, flame)
        except UserError as error:
            print(f"error: {error}")


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    check_numbers(args)
    model = Model.load(args)
    flame = load_flame(choose_head(args.head, model.published))
    if args.mode == "interactive":
        interactive(args, model, flame)
    elif args.stream:
        run_stream(args, model, flame)
    elif is_many(args.audio):
        run_many(args, model, flame)
    else:
        run(args, model, flame)


if __name__ == "__main__":
    main()
