"""The clips of a split with their phones, style references, seeds and statistics."""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path

from datasets.clip_store import ClipStore
from datasets.evaluation.protocol import EvaluationProtocol, ProtocolClip
from datasets.spoken_clips import (
    RESAMPLED,
    STYLE_FRAMES,
    long_enough,
    read_clip,
    read_motion,
    references,
    second_take,
    spread,
)
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.motion_file import Motion, load_motion
from utils.reading.json_file import read_json
from utils.speech import PHONES_FILE, Phone, SpokenClip, read_phones

REFERENCE = "other clip"


@dataclass(frozen=True)
class StyleWindows:
    """The motions, one style window each, that styles are taken from."""

    gallery: dict[str, Motion]  # clip of the whole split -> its beginning
    reference: dict[str, str]  # clip to score -> the clip that its style comes from
    late: dict[str, Motion]  # clip to score -> the window of its style, where that is not the reference's beginning


@dataclass(frozen=True)
class EvaluationData:
    """The clips to score, and the whole split that they belong to."""

    root: Path
    store: ClipStore
    split: str
    usable: list[str]  # all clips of the split that are long enough
    entries: dict[str, ProtocolClip]  # the clips to score
    phones: dict[str, list[Phone]] | None
    stats: CoefStats | None

    @classmethod
    def open(
        cls, root: Path, split: str, first_seed: Callable[[int], int], protocol: Path | None = None,
        phones: Path | None = None,
    ) -> EvaluationData:  # fmt: skip
        """Open a data set.

        Args:
            first_seed: a clip's number in the split -> the seed of its first sample; not used with a protocol.
            protocol: a file of clips, style references and seeds; None: all usable clips.
            phones: a file of phone times; None: that of the data set, if it has one.

        Raises:
            UserError: an unreadable data set, list, phone table, statistics or protocol, or one that does not fit.
        """
        store = ClipStore(root)
        usable = long_enough(store, store.clips(root / f"{split}.txt"))
        if protocol is None:
            style = references(usable)
            clips = tuple(
                ProtocolClip(clip, store.n_frames(clip), style[clip], 0, first_seed(i)) for i, clip in enumerate(usable)
            )
        else:
            read = EvaluationProtocol.read(protocol)
            read.check(split, {clip: store.n_frames(clip) for clip in usable}, protocol)
            clips = read.clips
        phones = phones or (own if (own := root / PHONES_FILE).is_file() else None)
        stats = root / "stats_train.npz"
        return cls(
            root, store, split, usable, {one.clip: one for one in clips},
            None if phones is None else read_phones(phones), CoefStats.load(stats) if stats.is_file() else None,
        )  # fmt: skip

    @property
    def clips(self) -> list[str]:
        return list(self.entries)

    @property
    def own_style(self) -> list[str]:
        """The clips whose style comes from their own first 4 s."""
        return [clip for clip, one in self.entries.items() if one.own_style]

    @property
    def protocol(self) -> EvaluationProtocol:
        return EvaluationProtocol(self.split, tuple(self.entries.values()))

    def only(self, kept: Container[str], limit: int | None = None) -> EvaluationData:
        """The clips in `kept`, and of these at most `limit`, spread over the list."""
        clips = spread([clip for clip in self.entries if clip in kept], limit)
        return replace(self, entries={clip: self.entries[clip] for clip in clips})

    def without_own_style(self) -> EvaluationData:
        """Only the clips whose style comes from another clip.

        Raises:
            UserError: there is none.
        """
        kept = set(self.entries) - set(self.own_style)
        if not kept:
            raise UserError(f"--skip_own_style: no speaker in {self.split}.txt has another clip; leave it out")
        return self.only(kept)

    def read(self, clip: str) -> SpokenClip:
        one = self.entries[clip]
        found = read_clip(self.store, clip, one.style_clip, self.phones)
        return replace(found, style_motion=self._window(one, STYLE_FRAMES)) if one.style_start else found

    def other_motions(self, clip: str) -> dict[str, Motion]:
        """`RESAMPLED` -> the second take; `REFERENCE` -> the whole clip that the style comes from; where they exist."""
        one, take = self.entries[clip], second_take(self.root, clip)
        found = {RESAMPLED: load_motion(take)} if take.is_file() else {}
        return found if one.own_style else found | {REFERENCE: read_motion(self.store, one.style_clip)}

    def style_windows(self, n_frames: int) -> StyleWindows:
        """The motions that styles are taken from, of a style encoder's `n_frames`."""
        late = [one for one in self.entries.values() if one.style_start]
        return StyleWindows(
            {clip: read_motion(self.store, clip, n_frames) for clip in self.usable},
            {one.clip: one.style_clip for one in self.entries.values()},
            {one.clip: self._window(one, n_frames) for one in late},
        )

    def _window(self, one: ProtocolClip, n_frames: int) -> Motion:
        return read_motion(self.store, one.style_clip, one.style_start + n_frames).cut(slice(one.style_start, None))

    def alike(self) -> dict[str, str]:
        """Speaker -> a name for its style, from the `speakers.json` of a synthetic data set.

        Raises:
            UserError: an entry without a style.
        """
        table = self.root / "speakers.json"
        if not table.is_file():
            return {}
        try:
            return {name: json.dumps(entry["style"]) for name, entry in read_json(table).items()}
        except (KeyError, TypeError) as error:
            raise UserError(f"{table}: an entry has no style ({error}); make the file again, or delete it") from error
