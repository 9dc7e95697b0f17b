"""What evaluations need besides a synthetic data set: phone times, and a second take of the test clips' motion.

Both follow from the plan alone, so they can be added to an existing data set and are reproducible.
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
    """The same speech in the same style again: every clip's motion with other random numbers.

    The distance between two takes is, on average, the least error of any model that does not know those numbers.
    """
    for number in range(len(speaker.clips)):
        speech, _ = clip_speech(speaker, number, config)
        rng = np.random.default_rng([speaker.seed, number, _SECOND_TAKE])
        motion = speech_motion(speech, vary_style(speaker.style, rng), rng, close_factor)
        yield Motion(motion["exp"], motion["pose"], shape)
