"""What evaluations need beside a synthetic data set: phone times, and a second take of the test clips' motion.

Both are derived anew from the plan, so they can be added to a data set that exists, and are the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scripts_for_dataset.synthetic.augment import AugmentConfig
from scripts_for_dataset.synthetic.clips import clip_speech
from scripts_for_dataset.synthetic.motion import speech_motion
from scripts_for_dataset.synthetic.plan import Speaker
from scripts_for_dataset.synthetic.style import vary_style
from utils.motion_file import Motion
from utils.speech import Phone

_SECOND_TAKE = 1


def speaker_phones(speaker: Speaker, config: AugmentConfig | None) -> list[list[Phone]]:
    """Phones of every clip of a speaker, in seconds of the clip."""
    clips = (clip_speech(speaker, number, config)[0] for number in range(len(speaker.clips)))
    return [[Phone(*phone) for phone in speech.phones] for speech in clips]


def second_takes(
    speaker: Speaker, shape: np.ndarray, close_factor: float, config: AugmentConfig | None
) -> Iterator[Motion]:
    """The same speech in the same style once more: every clip's motion with other random numbers.

    How far two takes lie apart is what no model that does not know those numbers can undercut on average.
    """
    for number in range(len(speaker.clips)):
        speech, _ = clip_speech(speaker, number, config)
        rng = np.random.default_rng([speaker.seed, number, _SECOND_TAKE])
        motion = speech_motion(speech, vary_style(speaker.style, rng), rng, close_factor)
        yield Motion(motion["exp"], motion["pose"], shape)
