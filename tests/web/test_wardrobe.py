"""web/wardrobe.py: costumes are kept for the next visitor, but not all of them."""

from models.heads.flame import load_flame
from utils.rendering.looks import SKINS
from web.wardrobe import KEPT, Choice, Wardrobe


def test_costumes_are_kept_while_they_are_in_use():
    wardrobe = Wardrobe(load_flame(None).head)
    first = wardrobe.costume(Choice("skin", "bald", "deep", "average"))
    assert wardrobe.costume(Choice("skin", "bald", "deep", "male_older")) is first
    for hair in ("short", "bob", "bald"):
        wardrobe.costume(Choice("clay", hair, "tan"))
    assert wardrobe.costume(Choice("skin", "bald", "deep")) is first
    wardrobe.costume(Choice("skin", "bob", "fair"))
    assert len(wardrobe.costumes) == KEPT and any(found is first for found in wardrobe.costumes.values())
    assert Choice("clay", "short", "tan") not in wardrobe.costumes


def test_skin_goes_with_the_head_unless_it_is_chosen():
    wardrobe = Wardrobe(load_flame(None).head)
    usual, deep = (wardrobe.costume(Choice("skin", skin=skin, person="female_young")) for skin in
                   (Choice("skin").skin, "deep"))  # fmt: skip
    assert (usual.look.texture, deep.look.texture) == (SKINS["fair"], SKINS["deep"])
    assert usual.look.drawn.n_vertices == deep.look.drawn.n_vertices
