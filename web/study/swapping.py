"""A video with the sound of another one, for attention checks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from utils.atomic import atomic_path
from utils.errors import UserError


def swap_sound(picture: Path, sound: Path, out: Path) -> None:
    """Write the pictures of one video with the sound of another, both as they are, up to the pictures' end.

    Raises:
        UserError: one of them cannot be read, or lacks pictures or sound.
    """
    import av

    try:
        with av.open(str(picture)) as seen, av.open(str(sound)) as heard, atomic_path(out) as temporary:
            if not seen.streams.video or not heard.streams.audio:
                lacking = sound if seen.streams.video else picture
                raise UserError(f"{lacking}: has no {'sound' if lacking is sound else 'pictures'}; checks need both")
            with av.open(str(temporary), "w", format="mp4") as made:
                sources = seen.streams.video[0], heard.streams.audio[0]
                pictures, sounds = ([p for p in file.demux(stream) if p.dts is not None]
                                    for file, stream in zip((seen, heard), sources))  # fmt: skip
                end = max(float((p.pts + (p.duration or 0)) * p.time_base) for p in pictures)
                sounds = [p for p in sounds if float(p.pts * p.time_base) < end]
                for source, packets in zip(sources, (pictures, sounds)):
                    target = made.add_stream_from_template(source)
                    for packet in packets:
                        packet.stream = target
                made.mux(sorted(itertools.chain(pictures, sounds), key=_time))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{picture.name} with the sound of {sound.name}: {error}; use mp4 files") from error


def _time(packet: Any) -> float:
    return float(packet.dts * packet.time_base)
