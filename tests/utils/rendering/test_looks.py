"""The skin look, its layout and painting, the camera's turn, panels and labels."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import uniform_filter

from setup.open_head.skin_bake import noise, openness, picture, texels
from setup.open_head.skin_paint import hairline
from setup.open_head.skin_uv import islands, packed_uv, vertex_of_corner
from tests.support.backdrop import covered
from tests.support.flame_like_head import flame_like
from utils.errors import UserError
from utils.heads.head_file import HeadFile, load_head_file
from utils.media.panels import Panel, captioned, side_by_side, text_masks, with_text
from utils.rendering.looks import SKIN_TEXTURE, dress, pivot, seen_from
from utils.rendering.renderer import Renderer, RenderStyle


@pytest.fixture(scope="module")
def head() -> HeadFile:
    return load_head_file(None)


@pytest.fixture(scope="module")
def skin() -> np.ndarray:
    return np.asarray(Image.open(SKIN_TEXTURE)).astype(np.float32)


def areas(head: HeadFile, uv: np.ndarray) -> np.ndarray:
    """(F,) of the unwrapped triangles, share of the picture."""
    a, b, c = uv[head.ft].transpose(1, 0, 2)
    return np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def colour_at(head: HeadFile, uv: np.ndarray, skin: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """(n, 3) mean texture colour, 0..255, around vertices."""
    corner = np.zeros(head.n_vertices, np.int64)
    corner[vertex_of_corner(head)] = np.arange(len(uv))
    pixel = np.stack([1 - uv[corner[vertices], 1], uv[corner[vertices], 0]], axis=1) * len(skin)
    blurred = uniform_filter(skin, (9, 9, 1))
    return blurred[tuple(np.clip(pixel.astype(int), 0, len(skin) - 1).T)]


def test_the_face_fills_the_picture(head):
    face = head.masks["face"][head.faces].all(1)
    before, after = areas(head, head.uv), areas(head, packed_uv(head))
    assert after[face].sum() > 0.20 > 2.5 * before[face].sum()
    assert after.sum() > 0.6


def test_shipped_layout_is_the_builders(head):
    look = dress(head, "skin")
    np.testing.assert_allclose(look.head.uv, packed_uv(head), rtol=0, atol=1e-6)  # processors round differently
    assert look.head.uv.min() >= 0 and look.head.uv.max() <= 1
    assert look.texture == SKIN_TEXTURE


def test_islands_do_not_overlap(head):
    """Their boxes are apart; within an island the stretch is monotone, so what was apart stays apart."""
    uv = packed_uv(head)
    boxes = [(uv[part].min(0), uv[part].max(0)) for part in islands(head)]
    assert len(boxes) == 10
    for k, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:k]:
            assert (low > other_high).any() or (high < other_low).any()
    main = max(islands(head), key=len)
    turned = head.uv[main][:, ::-1]  # the atlas has the face lying on its side
    for axis in range(2):
        order = np.argsort(turned[:, axis])
        steps = np.diff(uv[main][order, axis])
        assert (steps >= -1e-6).all() or (steps <= 1e-6).all()


def test_colours_where_they_belong(head, skin):
    uv = dress(head, "skin").head.uv
    lm = head.lmk68
    lips = colour_at(head, uv, skin, lm[[50, 51, 52, 56, 57, 58]]).mean(0)
    chin = colour_at(head, uv, skin, lm[[8]]).mean(0)
    crown = colour_at(head, uv, skin, np.array([int(head.v_template[:, 1].argmax())])).mean(0)
    brow = colour_at(head, uv, skin, lm[[19, 20, 23, 24]]).mean(0)
    assert lips[0] - lips[1] > chin[0] - chin[1] + 10  # lips are redder
    assert crown.sum() < 0.7 * chin.sum()  # hair
    assert brow.sum() < 0.8 * chin.sum()
    pole = np.flatnonzero(head.masks["left_eyeball"])
    pole = pole[head.v_template[pole, 2].argmax()]
    assert colour_at(head, uv, skin, np.array([pole])).max() < 60  # the pupil
    assert np.abs(hairline(head, head.v_template[[lm[27]]])) > 0.02


def test_texture_is_symmetric_in_the_large(skin):
    """The face's two halves differ in detail, not in tone."""
    face = uniform_filter(skin[: int(0.64 * len(skin))], (65, 65, 1))
    assert np.abs(face - face[:, ::-1]).mean() < 6


def test_dress(head):
    assert dress(head).head is head and dress(head).texture is None
    assert str(dress(head, "skin", "mine.png").texture) == "mine.png"
    assert dress(head, "clay", "mine.png").head.uv is head.uv
    with pytest.raises(UserError, match="--look"):
        dress(head, "wood")
    with pytest.raises(UserError, match="open head"):
        dress(flame_like()[0], "skin")


def test_skin_is_drawn(head):
    look = dress(head, "skin")
    clay, skin = (
        next(Renderer(h, RenderStyle(size=160, texture=t)).frames(head.v_template[None]))
        for h, t in ((head, None), (look.head, look.texture))
    )
    shown = covered(clay)
    assert (shown == covered(skin))[20:-20].mean() > 0.999
    top = np.flatnonzero(shown.any(1))[0] + 12
    middle = skin.shape[1] // 2
    assert skin[top, middle].astype(int).sum() < clay[top, middle].astype(int).sum() - 60  # hair, not scalp
    eyes = np.abs(skin.astype(int) - clay)[60:80]
    assert eyes.max() > 30


def test_texels_cover_and_interpolate():
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    found = texels(uv, faces, 16)
    assert len(found.row) == 256
    place = found.spread(uv.astype(float), faces)
    np.testing.assert_allclose(place[:, 0], (found.column + 0.5) / 16, atol=0.01)
    np.testing.assert_allclose(place[:, 1], 1 - (found.row + 0.5) / 16, atol=0.01)
    image = picture(found, np.tile([1.0, 0.5, 0.0], (256, 1)))
    assert (image == [255, 128, 0]).all()


def test_noise_is_smooth_and_fills_its_range():
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (20000, 3))
    values = noise(points, 0.01, 3)
    assert abs(values.mean()) < 0.05 and 0.8 < np.abs(values).max() <= 1
    near = noise(points + 1e-6, 0.01, 3)
    assert np.abs(near - values).max() < 1e-2
    assert np.abs(values - noise(points, 0.01, 4)).mean() > 0.2


def test_openness_knows_hollows(head):
    light = openness(head, samples=12)
    assert light[head.landmark("nose_tip")] > 0.85
    assert light[head.masks["mouth_interior"]].mean() < 0.2


def test_camera_goes_round(head):
    nose = head.landmark("nose_tip")
    middle = pivot(head)
    left = seen_from(head.v_template, middle, yaw=30)
    assert left[nose, 0] < -0.02  # seen from the person's left, the nose points to the picture's left
    crown = int(head.v_template[:, 1].argmax())
    assert seen_from(head.v_template, middle, pitch=30)[crown, 2] > head.v_template[crown, 2] + 0.03
    assert seen_from(head.v_template, middle) is head.v_template
    np.testing.assert_allclose(seen_from(middle[None], middle, 70, 20), middle[None], atol=1e-6)
    assert left.dtype == head.v_template.dtype
    with pytest.raises(UserError, match="--yaw"):
        seen_from(head.v_template, middle, yaw=float("nan"))
    with pytest.raises(UserError, match="--pitch"):
        seen_from(head.v_template, middle, pitch=91)


def test_side_by_side():
    videos = [[np.full((20, 30, 3), 10 * k + i, np.uint8) for i in range(n)] for k, n in enumerate((3, 2, 3, 3, 1))]
    frames = list(side_by_side([Panel(v) for v in videos], black_bg=True))
    assert len(frames) == 3 and frames[0].shape == (40, 90, 3)
    assert frames[2][0, 0, 0] == 2 and frames[2][0, 30, 0] == 11  # the second holds its last picture
    assert frames[2][20, 0, 0] == 32 and frames[0][39, 89, 0] == 0
    assert next(side_by_side([Panel(v) for v in videos[:3]])).shape == (20, 90, 3)
    assert next(side_by_side([Panel(v) for v in videos], columns=1)).shape == (100, 30, 3)
    odd = [Panel([np.zeros((15, 21, 3), np.uint8)])]
    assert next(side_by_side(odd)).shape == (16, 22, 3)
    for bad in (
        [],
        [Panel([])],
        [Panel(videos[0]), Panel([np.zeros((8, 8, 3), np.uint8)])],
        [Panel(videos[0]), Panel([])],
    ):
        with pytest.raises(UserError, match="side by side"):
            list(side_by_side(bad))


def test_text_is_readable_and_fits():
    white, black = np.full((100, 200, 3), 255, np.uint8), np.zeros((100, 200, 3), np.uint8)
    top = with_text(white, "big mouth")
    assert top[:30, :100].min() < 80 and (top[50:] == 255).all() and (white == 255).all()
    assert with_text(black, "big mouth", black_bg=True).max() > 200
    (low,) = captioned([white], "speech.wav")
    assert low[70:].min() < 80 and (low[:50] == 255).all()
    for text in ("a very long name " * 6, "Grüße", "x"):
        halo, letters = text_masks(text, 20, 200)
        assert halo.shape == letters.shape and halo.shape[1] <= 202 and halo.sum() > letters.sum() > 0
    long = with_text(white, "x" * 500, bottom=True)  # cut, but there
    assert long.shape == white.shape and long[70:].min() < 120
    skin = np.full((100, 200, 3), 190, np.uint8)
    for black_bg in (False, True):  # letters and halo: one of them is seen on anything
        found = with_text(skin, "speech.wav", bottom=True, black_bg=black_bg)
        assert found.max() > 215 and found.min() < 120
    assert with_text(white, "") is white
