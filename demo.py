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
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

from models.app import bundled
from models.app.demo_files import (
    Model,
    check_distinct,
    check_ending,
    check_sources,
    choose_head,
    endings,
    find_speech,
    output_paths,
    read_style,
    results,
    shape_file,
    shape_of,
    style_file,
)
from models.app.demo_flags import DESCRIPTION, DemoFlags
from models.app.export_flags import exporter_from
from models.app.head_film import HeadFilm
from models.app.recording import Recording
from models.app.sampling_flags import generation_config
from models.app.speaking import TalkingHead, Titles
from models.fast.engine import EngineConfig
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame, load_flame
from models.mixing.mixer import Mixer
from models.networks.person import Person
from utils.config import read_flags
from utils.errors import UserError, cli
from utils.exports.arkit import has_arkit_expressions
from utils.media.audio import SoundPart, own_sound
from utils.media.input_list import is_many, read_inputs
from utils.media.live_audio import MICROPHONE, STDIN, live_blocks
from utils.media.panels import STYLE_NAME
from utils.motion_file import load_shape
from utils.rendering.looks import Look
from utils.rendering.renderer import RenderStyle
from utils.runs.shards import SharedWork, settings_of

log = logging.getLogger(__name__)


def make_config(flags: DemoFlags, model: Model) -> GenerationConfig:
    """Guidance, solver and precision from the flags, with the model's own settings as defaults."""
    config = generation_config(flags.sampling, model.animator.model.config, model.published)
    return replace(config, engine=EngineConfig(flags.model.precision))


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
    return flags.looks.dress(flame.head, shape_of(flags))


def titles(flags: DemoFlags, model: Model) -> Titles:
    """The caption of the videos, with the name of the style filled in."""
    style = style_file(flags.io.style, model)
    name = "none" if style is None else style.stem
    return Titles(flags.picture.caption.replace(STYLE_NAME, name), flags.picture.side_by_side)


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
    check_ending(flags, name)
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
    if folder.suffix.lower() in endings(flags):
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
