"""Speech -> talking head video. Without arguments: the bundled model, speech, identity and style.

python demo.py
python demo.py -a speech.wav -s smile.npy -o smile.mp4
python demo.py -a recordings/ -o videos/        (or a .txt list of paths: one video each)
microphone | python demo.py --stream -a -       (frames as lines of JSON while the audio arrives)
python demo.py --exp_name NAME --iter 110000 -a speech.wav -c shape.npy -s style.npy -o out.mp4 -n 3 -ss 3 -sa 1.15
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

import numpy as np

from models.app import bundled
from models.app.bundled import DEFAULT_STYLE, find_input, person_like
from models.app.demo_flags import DESCRIPTION, DemoFlags, ModelFlags
from models.app.demo_outputs import all_files, check_distinct, output_paths, results
from models.app.export_flags import exporter_from
from models.app.head_film import HeadFilm
from models.app.recording import Recording
from models.app.sampling_flags import generation_config
from models.app.speaking import TalkingHead, Titles
from models.exports.motion_export import check_foreign
from models.fast.engine import EngineConfig
from models.generation.animator import Animator
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame, load_flame
from models.mixing.mixer import Mixer
from models.networks.person import Person
from utils.atomic import check_apart
from utils.config import paths_of, read_flags
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.exports.arkit import has_arkit_expressions
from utils.media.audio import SoundPart, own_sound
from utils.media.input_list import is_many, read_inputs
from utils.media.live_audio import MICROPHONE, STDIN, live_blocks
from utils.media.panels import STYLE_NAME
from utils.media.sound_file import check_sound_file
from utils.motion_file import load_shape, load_style
from utils.rendering.looks import Look, dress
from utils.rendering.renderer import RenderStyle
from utils.runs.run_dir import ROOT, find_checkpoint, style_folder
from utils.runs.shards import SharedWork, settings_of

log = logging.getLogger(__name__)
FLAME_FILES = (ROOT / "models" / "data" / "flame.npz", ROOT / "models" / "data" / "generic_model.pkl")


@dataclass(frozen=True)
class Model:
    """A loaded talker and the folders of its files."""

    animator: Animator
    folder: Path  # <exp>/iter_XXXXXXX
    styles: Path | None  # <SE exp>/iter_XXXXXXX
    published: bool

    @classmethod
    def load(cls, flags: ModelFlags) -> "Model":
        checkpoint = find_checkpoint("DPT", flags.exp_name, flags.iter)
        animator = Animator.load(checkpoint, flags.coef_stats, pick_device(flags.device))
        style_enc = animator.model.config.style_enc_ckpt
        styles = style_folder(style_enc) if style_enc else None
        return cls(animator, Path(checkpoint.parent.parent.name) / checkpoint.stem, styles, animator.published)


def choose_head(path: Path | None, published: bool) -> Path | None:
    """`--head`, else the FLAME file in models/data for published models, if it exists, else None (the open head)."""
    if path is not None or not published:
        return path
    for candidate in FLAME_FILES:
        if candidate.is_file():
            return candidate
    log.warning(
        "this model moves FLAME, whose coefficients mean nothing on the open head: the video will look wrong; "
        "give --head generic_model.pkl (setup/README.md explains how to get it)"
    )
    return None


def read_style(name: str | None, model: Model) -> np.ndarray | None:
    """The style vector, or None for the null style.

    Raises:
        UserError: see `style_file`; or the file has the wrong size.
    """
    path = style_file(name, model)
    if path is None:
        return None
    style = load_style(path, model.animator.model.config.d_style)
    if not path.resolve().parent.name.startswith("iter_"):
        log.warning("--style %s: taken for a style of encoder %s, since its folder does not say which one made it",
                    path, model.styles)  # fmt: skip
    return style


def style_file(name: str | None, model: Model) -> Path | None:
    """The file of the style, or None for the null style.

    Raises:
        UserError: a missing file, a file of another style encoder, or a model without style input.
    """
    if model.styles is None:
        if name is not None:
            raise UserError(f"--style {name}: {model.folder} was trained without a style encoder; leave out --style")
        return None
    styles = bundled.input_folder("style")
    folder = styles / model.styles
    if name is None:
        default = folder / DEFAULT_STYLE
        return default if default.is_file() else None
    path = find_input(name, [folder, styles])
    made_by = path.resolve().parent
    if made_by.name.startswith("iter_") and Path(made_by.parent.name, made_by.name) != model.styles:
        raise UserError(
            f"--style {path}: comes from style encoder {made_by.parent.name}/{made_by.name}, but {model.folder} needs "
            f"{model.styles}; extract it again with extract_style.py"
        )
    return path


def make_config(flags: DemoFlags, model: Model) -> GenerationConfig:
    """Guidance, solver and precision from the flags, with the model's own settings as defaults."""
    config = generation_config(flags.sampling, model.animator.model.config, model.published)
    return replace(config, engine=EngineConfig(flags.model.precision))


def check_sources(flags: DemoFlags, model: Model, recordings: list[Path], videos: list[Path]) -> None:
    """Raises UserError if a file that will be written is one that is read, or a sidecar would replace a foreign one."""
    written = [file for path in videos for file in all_files(flags, path)]
    named = [Path(flags.io.audio), shape_file(flags), style_file(flags.io.style, model)]
    named = [path for path in named if path is not None and not path.is_dir()]  # of a folder, the recordings count
    others = [file for _, paths in paths_of(flags) for file in paths]
    check_apart(written, [*recordings, *named, *others])
    check_foreign(written)


def make_film(flags: DemoFlags, flame: Flame) -> HeadFilm | None:
    """The renderer of the video, as the picture flags say; None with --no_video.

    Raises:
        UserError: no OpenGL (with the packages to install), or an unusable texture.
    """
    picture = flags.picture
    if picture.no_video:
        return None
    look = look_of(flags, flame)
    style = RenderStyle(picture.size, picture.black_bg, look.texture, picture.fov, picture.renderer)
    return HeadFilm(Flame(look.drawn), style, picture.yaw)


def look_of(flags: DemoFlags, flame: Flame) -> Look:
    """The look of the head."""
    picture = flags.picture
    return dress(flame.head, picture.look, picture.texture, picture.hair, picture.skin, person_like(shape_of(flags)))


def shape_of(flags: DemoFlags) -> np.ndarray:
    """(100,) the head shape of `--coef`."""
    return load_shape(shape_file(flags))


def shape_file(flags: DemoFlags) -> Path:
    """`--coef`, a file or the name of a bundled one."""
    return find_input(flags.io.coef, [bundled.input_folder("coef")])


def titles(flags: DemoFlags, model: Model) -> Titles:
    """The caption of the videos, with the name of the style filled in."""
    style = style_file(flags.io.style, model)
    name = "none" if style is None else style.stem
    return Titles(flags.picture.caption.replace(STYLE_NAME, name), flags.picture.side_by_side)


def find_speech(name: str) -> Path:
    """`--audio`, a file or the name of a bundled one.

    Raises:
        UserError: there is no such file, or it is a pipe or an address.
    """
    if name == STDIN:
        raise UserError("--audio -: standard input is read with --stream; add it, or give a file")
    path = Path(name)
    if "://" in name or (path.exists() and not path.is_dir()):
        check_sound_file(path)
    return find_input(name, [bundled.input_folder("audio")])


def make_talking_head(flags: DemoFlags, model: Model, flame: Flame, film: HeadFilm | None) -> TalkingHead:
    """The person and the outputs that the flags describe."""
    io, picture = flags.io, flags.picture
    return TalkingHead(
        model.animator,
        Person(load_shape(shape_file(flags), has_arkit_expressions(flame.head)), read_style(io.style, model)),
        make_config(flags, model),
        [io.seed + i for i in range(io.n_repetitions)],
        film,
        io.save_coef,
        picture.no_head,
        exporter_from(flags.export, flame, look_of(flags, flame)),
        titles(flags, model),
        SoundPart(io.audio_track),
        Mixer(flags.mix, flame.head),
    )


def run(flags: DemoFlags, model: Model, flame: Flame) -> None:
    """One utterance: read everything, generate, write."""
    io = flags.io
    name = Path(io.output) if io.output else bundled.OUTPUT / model.folder / f"{Path(io.audio).stem}.mp4"
    if name.suffix.lower() != ".mp4":
        raise UserError(f"--output {name}: must end in .mp4; npz and exports have its name with their own endings")
    videos, source = output_paths(flags, name), find_speech(io.audio)
    check_sources(flags, model, [source], videos)
    head = make_talking_head(flags, model, flame, None)
    recording = Recording.read(source, SoundPart(io.audio_track))
    replace(head, film=make_film(flags, flame)).speak(recording, videos)


def run_many(flags: DemoFlags, model: Model, flame: Flame) -> None:
    """Process every recording of a folder or list whose outputs do not exist yet.

    Raises:
        UserError: some recordings failed (each error was logged before).
    """
    io = flags.io
    folder = Path(io.output) if io.output else bundled.OUTPUT / model.folder
    if folder.suffix.lower() == ".mp4":
        raise UserError(f"--output {folder}: is one file, but --audio {io.audio} names many recordings; give a folder")
    inputs = read_inputs(io.audio, io.recursive, folder)
    outputs = [output_paths(flags, folder / f"{one.name}.mp4") for one in inputs]
    check_distinct(flags, inputs, outputs)
    check_sources(flags, model, [one.path for one in inputs], [path for paths in outputs for path in paths])
    pairs = [(one.path, paths) for one, paths in zip(inputs, outputs)]
    shard, work = flags.work.part(), SharedWork(folder, [one.name for one in inputs], settings_of(flags))
    failed: list[str] = []

    def speak(overwrite: Callable[[Path], bool]) -> list[str]:
        failed.extend(speak_unfinished(flags, model, flame, pairs, overwrite))
        return failed

    if shard is not None:
        pairs = shard.of(pairs)
        work.do_part(shard, lambda _: speak(lambda _: io.overwrite))
    else:
        parts = work.finished()  # they have replaced what there was, but for what failed
        again = {name for part in parts for name in part.results}
        speak(lambda path: path.name in again or (io.overwrite and not parts))
        if not failed:
            work.remove()
    if failed:
        raise UserError(f"--audio {io.audio}: {len(failed)} of {len(pairs)} recordings failed: {', '.join(failed)}")


def speak_unfinished(
    flags: DemoFlags,
    model: Model,
    flame: Flame,
    pairs: list[tuple[Path, list[Path]]],
    overwrite: Callable[[Path], bool],
) -> list[str]:
    """Process the recordings (each with its outputs) whose outputs do not exist yet, or that are to be made again.

    Returns:
        Names of those that failed.
    """
    wanted = [
        (path, paths)
        for path, paths in pairs
        if overwrite(path) or not all(made.exists() for path in paths for made in results(flags, path))
    ]
    if len(wanted) < len(pairs):
        done = len(pairs) - len(wanted)
        log.info("%d of %d recordings are finished already (--overwrite replaces their outputs)", done, len(pairs))
    if not wanted:
        return []
    head = make_talking_head(flags, model, flame, make_film(flags, flame))
    return [path.name for path in head.speak_all(*map(list, zip(*wanted)))]


def run_stream(flags: DemoFlags, model: Model, flame: Flame) -> None:
    """Read audio as it arrives, and write frames as they are generated."""
    from models.app.live_session import FileAtTheEnd, open_output, run_live
    from models.generation.live import LIVE_SAMPLER, LIVE_STEPS, LiveConfig, LiveTalker

    io, sampling = flags.io, flags.sampling
    waits = io.audio in (STDIN, MICROPHONE) or Path(io.audio).is_fifo()  # a live source, which must not fall behind
    live = LiveConfig(hop=flags.live.hop, look_ahead=flags.live.look_ahead, catch_up=waits)
    if not model.published:
        steps = model.animator.model.config.distilled_steps or LIVE_STEPS
        steps = steps if sampling.steps is None else sampling.steps
        flags = replace(flags, sampling=replace(sampling, sampler=sampling.sampler or LIVE_SAMPLER, steps=steps))
    head = make_talking_head(flags, model, flame, None)
    source = io.audio if waits else str(find_speech(io.audio))
    name = io.output or "-"
    if name != "-":
        check_sources(replace(flags, io=replace(io, save_coef=True)), model, [Path(source)], [Path(name)])
    film = make_film(flags, flame) if name.lower().endswith(".mp4") else None
    part = SoundPart(io.audio_track)
    blocks = live_blocks(source, flags.live.pcm_rate, part)
    output = open_output(name, film, None if waits or film is None else own_sound(source, part))
    if isinstance(output, FileAtTheEnd):
        blocks = output.listen(blocks)
    talker = LiveTalker(model.animator, head.person, head.config, live, io.seed)
    log.info("%s", run_live(talker, blocks, output, head.posing()))


def interactive(flags: DemoFlags, model: Model, flame: Flame) -> None:
    """Ask for inputs until the audio name is empty or the input ends; an empty answer keeps the last value."""
    print("Give an audio file to animate (an empty line quits). Elsewhere an empty answer keeps [the value].")
    while True:
        try:
            audio = input("audio: ").strip()
            if not audio:
                return
            last = {key: getattr(flags.io, key) for key in ("style", "coef", "output")}
            answers = {key: input(f"{key} [{value}]: ").strip() for key, value in last.items()}
        except (EOFError, RuntimeError):  # RuntimeError: standard input is closed
            return
        given = {key: answer or (None if key == "output" else last[key]) for key, answer in answers.items()}
        flags = replace(flags, io=replace(flags.io, audio=audio, **given))
        try:
            run(flags, model, flame)
        except UserError as error:
            print(f"error: {error}")


def parse_args(argv: list[str] | None = None) -> DemoFlags:
    """The flags, checked."""
    return read_flags(DemoFlags, argv, DESCRIPTION)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = parse_args(argv)
    model = Model.load(flags.model)
    head = choose_head(flags.model.head, model.published)
    flame = load_flame(head)
    model.animator.know_head(flame.head, carried=head is None)
    if flags.mode == "interactive":
        interactive(flags, model, flame)
    elif flags.live.stream:
        run_stream(flags, model, flame)
    elif is_many(flags.io.audio):
        run_many(flags, model, flame)
    else:
        run(flags, model, flame)


if __name__ == "__main__":
    main()
