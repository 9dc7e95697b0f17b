"""The looks that visitors choose, kept ready to draw while they are in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from models.app.head_film import HeadFilm
from models.heads.flame import Flame
from utils.heads.head_file import HeadFile
from utils.rendering.looks import Look, dress
from utils.rendering.renderer import RenderStyle

OF_THE_HEAD = "goes with the head"  # hair and skin: those of the bundled head shape
KEPT = 4
PICTURE = 448  # pixels


@dataclass(frozen=True)
class Choice:
    """What a visitor wants the head to look like."""

    look: str
    hair: str = OF_THE_HEAD
    skin: str = OF_THE_HEAD
    person: str | None = None  # name of a bundled head shape

    def settled(self) -> Choice:
        """The same for all persons, where nothing goes with the head."""
        return self if OF_THE_HEAD in (self.hair, self.skin) else Choice(self.look, self.hair, self.skin)


@dataclass(frozen=True)
class Costume:
    """One look of the head."""

    look: Look

    @cached_property
    def film(self) -> HeadFilm:
        """Draws it into videos; the 3-D view does without."""
        return HeadFilm(Flame(self.look.drawn), RenderStyle(size=PICTURE, texture=self.look.texture))


@dataclass
class Wardrobe:
    """The last `KEPT` costumes of a head."""

    head: HeadFile
    costumes: dict[Choice, Costume] = field(default_factory=dict)  # the last used one at the end

    def costume(self, choice: Choice) -> Costume:
        """Made, or as it was made for an earlier visitor.

        Raises:
            UserError: an unknown name, or no OpenGL.
        """
        wanted = choice.settled()
        self.costumes[wanted] = self.costumes.pop(wanted, None) or self._made(wanted)
        for old in list(self.costumes)[:-KEPT]:
            del self.costumes[old]
        return self.costumes[wanted]

    def _made(self, choice: Choice) -> Costume:
        hair, skin = (None if name == OF_THE_HEAD else name for name in (choice.hair, choice.skin))
        return Costume(dress(self.head, choice.look, hair=hair, skin=skin, person=choice.person))
