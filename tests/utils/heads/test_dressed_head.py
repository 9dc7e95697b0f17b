"""The head as it is drawn: subdivision, what follows the mesh, and 500 random faces seen from in front."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.heads.flame import Flame
from utils.errors import UserError
from utils.heads.dressed_head import PARTS, pack_parts, read_parts
from utils.heads.head_file import HeadFile, load_head_file
from utils.heads.subdivision import subdivide
from utils.rendering.looks import HAIR, SKINS, dress
from utils.rendering.renderer import Renderer, RenderStyle

FACES, SIZE = 500, 160
MAGENTA = (1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def head() -> HeadFile:
    return load_head_file(None)


@pytest.fixture(scope="module")
def drawn(head) -> HeadFile:
    return dress(head, "skin", hair="bald").drawn


def random_faces(head: HeadFile, n: int, **units: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Identities, units 0..0.7 of which a third are on, jaws up to fully open; the named units as given."""
    rng = np.random.default_rng(17)
    exp = np.clip(rng.uniform(-1.4, 0.7, (n, 50)), 0, None)
    for name, value in units.items():
        exp[:, [i for i, unit in enumerate(head.exp_names) if unit.startswith(name)]] = value
    pose = np.zeros((n, 6))
    pose[:, 3] = rng.uniform(0, 0.42, n)
    shape = rng.normal(0, 0.7, (n, 100))
    return tuple(torch.from_numpy(x.astype(np.float32)) for x in (shape, exp, pose))


def pictures(head: HeadFile, faces: tuple, size: int) -> np.ndarray:
    """(n, size, size, 3) before magenta, seen from in front."""
    renderer = Renderer(head, RenderStyle(size))
    renderer._stage = replace(renderer._stage, background=MAGENTA, vignette=0.0)
    flame, found = Flame(head), []
    for part in zip(*(x.split(50) for x in faces)):
        found += list(renderer.frames(flame(*part).numpy()))
    return np.stack(found)


def holes(picture: np.ndarray) -> int:
    """Background pixels that the head encloses."""
    back, number = ndimage.label(np.pad(picture.astype(int) @ [1, -2, 1] > 330, 1, constant_values=True))
    return int((back > 0).sum() - (back == back[0, 0]).sum()) if number else 0


def test_subdivided_triangles_meet(head):
    """Every edge of the chosen part's inside still has two faces, and a flat mesh stays flat."""
    chosen = head.masks["face"][head.faces].all(1)
    step = subdivide(head.faces, head.ft, (head.n_vertices, len(head.uv)), chosen)
    np.testing.assert_allclose(np.asarray(step.operator.sum(1)), 1, atol=1e-12)

    def open_edges(faces):
        pairs = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        return int((np.unique(pairs, axis=0, return_counts=True)[1] == 1).sum())

    assert open_edges(step.faces) == open_edges(head.faces)
    assert len(step.faces) > len(head.faces) + 3 * chosen.sum()
    still = np.setdiff1d(head.faces[~chosen], head.faces[chosen])
    np.testing.assert_array_equal((step.operator @ head.v_template)[still], head.v_template[still])


def test_landmarks_stay_and_the_camera_does_not_move(head, drawn):
    """Lips, lids and the rest lie within 1.5 mm of the motion mesh's, whatever the face does."""
    faces = random_faces(head, 40)
    plain, dressed = Flame(head)(*faces).numpy(), Flame(drawn)(*faces).numpy()
    apart = np.linalg.norm(plain[:, head.lmk68] - dressed[:, head.lmk68], axis=2)
    assert apart.max() < 1.5e-3
    assert np.abs(drawn.j_regressor @ drawn.v_template - head.j_regressor @ head.v_template).max() < 2e-4


@pytest.mark.parametrize("hair", HAIR)
@pytest.mark.parametrize("skin", SKINS)
def test_every_dress_is_whole(head, hair, skin):
    look = dress(head, None, hair=hair, skin=skin)
    found = look.drawn
    assert look.texture.is_file() and np.isfinite(found.v_template).all()
    assert found.faces.max() < found.n_vertices and found.ft.max() < len(found.uv)
    assert found.uv.min() >= 0 and found.uv.max() <= 1
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
    assert look.head.n_vertices == head.n_vertices  # the motion mesh is left alone


@pytest.mark.parametrize("flag", ["look", "hair", "skin"])
def test_unknown_names(head, flag):
    with pytest.raises(UserError, match=f"--{flag}: 'wood' is not a choice"):
        dress(head, **{"look": "skin", flag: "wood"})


def test_parts_of_another_version(tmp_path, head):
    parts = read_parts()
    packed = pack_parts(parts)
    np.savez(tmp_path / "old.npz", **{**packed, "format": np.array("open-head-parts-0")})
    with pytest.raises(UserError, match=r"old.npz: format open-head-parts-0, this version reads"):
        read_parts(tmp_path / "old.npz")
    del packed["teeth_faces"]
    np.savez(tmp_path / "less.npz", **packed)
    with pytest.raises(UserError, match=r"less.npz: malformed"):
        read_parts(tmp_path / "less.npz")
    assert PARTS.stat().st_size < 1_000_000


def test_no_hole_in_500_faces(drawn):
    """No background shows through an open mouth or anywhere else within the head."""
    assert max(holes(picture) for picture in pictures(drawn, random_faces(drawn, FACES), SIZE)) == 0


def test_a_hole_would_be_seen(drawn):
    """The check above sees one: without the mouth's walls and tongue the background shows through the open mouth."""
    kept = ~drawn.masks["mouth_interior"][drawn.faces].any(1)
    cut = replace(drawn.finish, inner=drawn.finish.inner[kept], blended=0)
    open_head = replace(drawn, faces=drawn.faces[kept], ft=drawn.ft[kept], finish=cut)
    faces = (torch.zeros(1, 100), torch.zeros(1, 50), torch.tensor([[0, 0, 0, 0.3, 0, 0]]))
    assert holes(pictures(drawn, faces, SIZE)[0]) == 0
    renderer = Renderer(open_head, RenderStyle(SIZE))
    renderer._stage = replace(renderer._stage, background=MAGENTA, vignette=0.0)
    assert holes(next(renderer.frames(Flame(open_head)(*faces).numpy()))) > 10


def test_shut_eyes_show_no_eyeball(drawn):
    """At 640 pixels no column of a shut eye shows more than one pixel of the ball; lashes and shadows are left out."""
    solid = len(drawn.faces) - drawn.finish.blended
    paint = np.zeros_like(drawn.finish.paint)
    paint[drawn.masks["left_eyeball"] | drawn.masks["right_eyeball"]] = (1, 0, 1, 0)
    plain = replace(drawn.finish, paint=paint, blended=0, inner=drawn.finish.inner[:solid])
    bare = replace(drawn, faces=drawn.faces[:solid], ft=drawn.ft[:solid], finish=plain)
    faces = random_faces(drawn, 40, eyeBlink=1.0, eyeWide=0.0, eyeSquint=0.0, eyeLook=0.0)
    renderer, flame = Renderer(bare, RenderStyle(640, black_bg=True)), Flame(bare)
    shut = np.stack(list(renderer.frames(flame(*faces).numpy())))[..., 0] > 90
    assert shut.sum(1).max() <= 1
    rest = (torch.zeros(1, 100), torch.zeros(1, 50), torch.zeros(1, 6))
    assert (next(renderer.frames(flame(*rest).numpy()))[..., 0] > 90).sum() > 1000


def test_teeth_stay_out_of_the_lips(drawn):
    """No tooth lies deeper than 1 mm below the surface of a lip, over 500 faces (closest points, along the normal)."""
    from scipy.spatial import cKDTree

    from utils.rendering.renderer import VertexNormals

    skin = drawn.finish.smooth.shape[0]
    teeth = np.arange(skin, skin + len(read_parts()["teeth"].vertices))
    red = drawn.masks["lips"] & (np.arange(drawn.n_vertices) < skin)
    lips = np.unique(drawn.faces[red[drawn.faces].all(1)])
    normals, flame, deepest = VertexNormals(drawn.faces, drawn.n_vertices), Flame(drawn), []
    for part in zip(*(x.split(50) for x in random_faces(drawn, FACES))):
        for vertices in flame(*part).numpy():
            distance, near = cKDTree(vertices[lips]).query(vertices[teeth])
            offset = vertices[teeth] - vertices[lips[near]]
            depth = -(offset * normals(vertices)[lips[near]]).sum(1)
            beside = np.sqrt(np.maximum(distance**2 - depth**2, 0))
            deepest.append(depth[(beside < 2e-3) & (distance < 6e-3)].max(initial=0))
    assert max(deepest) < 1e-3
