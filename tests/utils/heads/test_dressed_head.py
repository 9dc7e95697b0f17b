"""The head as it is drawn: subdivision, what follows the mesh, and 500 random faces seen from in front."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial import cKDTree

from models.heads.decode import decode, motion_vertices
from models.heads.flame import Flame
from utils.errors import UserError
from utils.heads.dressed_head import OLDER_FORMATS, PARTS, dressed_head, pack_parts, read_parts, read_retouch
from utils.heads.head_file import HeadFile, load_head_file
from utils.heads.subdivision import subdivide
from utils.heads.tongue import tongue_weights
from utils.motion_file import Motion
from utils.rendering.head_paint import painted
from utils.rendering.looks import HAIR, SKINS, dress
from utils.rendering.renderer import DressedNormals, Renderer, RenderStyle, VertexNormals

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
    packed = pack_parts(read_parts(), read_retouch(head.n_vertices))
    np.savez(tmp_path / "old.npz", **{**packed, "format": np.array("open-head-parts-0")})
    with pytest.raises(UserError, match=r"old.npz: format open-head-parts-0, this version reads"):
        read_parts(tmp_path / "old.npz")
    del packed["teeth_faces"]
    np.savez(tmp_path / "less.npz", **packed)
    with pytest.raises(UserError, match=r"less.npz: malformed"):
        read_parts(tmp_path / "less.npz")
    assert PARTS.stat().st_size < 1_000_000


def test_parts_of_the_version_before_are_read(tmp_path, head, monkeypatch):
    """Without retouch, shade and soft rims the head is drawn as it was."""
    parts = {name: replace(part, shade=None) for name, part in read_parts().items() if not name.endswith("_rim")}
    packed = pack_parts(parts, read_retouch(head.n_vertices))
    before = {key: values for key, values in packed.items() if not key.startswith("retouch_")}
    np.savez(tmp_path / "before.npz", **before | {"format": np.array(OLDER_FORMATS[0])})
    found = read_parts(tmp_path / "before.npz")
    assert found.keys() == parts.keys() and found["bust"].shade is None
    plain = dressed_head(head, np.ones((head.n_vertices, 4)), list(found.values()))
    assert not plain.finish.tongue.any() and not read_retouch(head.n_vertices, tmp_path / "before.npz").tongue.any()
    none = [head.exp_names.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
    skin = plain.finish.smooth
    np.testing.assert_allclose(plain.expdirs[: skin.shape[0], 1, none], skin @ head.expdirs[:, 1, none], atol=1e-6)


def test_a_retouch_of_another_head(tmp_path, head):
    packed = pack_parts(read_parts(), read_retouch(head.n_vertices))
    np.savez(tmp_path / "same.npz", **packed)
    with pytest.raises(UserError, match=r"same.npz: malformed \(wrong sizes\)"):
        read_retouch(head.n_vertices + 1, tmp_path / "same.npz")


def test_occlusion_darkens_folds_in_clay_and_skin(head):
    """Clay has it in its colours, skin in its texture; the bust's and the hair's shadows are on both."""
    clay, bare = dress(head, "clay").drawn, dressed_head(head, painted(head).paint, [])
    n, lm = head.n_vertices, head.lmk68
    factor = clay.vertex_colours[:n, 1] / np.maximum(bare.vertex_colours[:n, 1], 1e-3)
    assert factor[lm[30]] > 0.97 and factor[lm[[31, 35]]].max() < 0.93  # tip of the nose; beside the nostrils
    assert factor[head.masks["neck"]].mean() < 0.95 < factor[head.masks["forehead"]].mean()
    assert factor[head.masks["left_eyeball"]].min() > 0.999
    bald, bob = (dress(head, "skin", hair=hair).drawn.vertex_colours[:n, 1] for hair in ("bald", "bob"))
    nape = head.masks["neck"] & (head.v_template[:, 2] < -0.08)
    assert bob[nape].mean() < bald[nape].mean() - 0.05
    assert bald.min() >= 0.3 and abs(bald[lm[30]] - 1) < 0.02


def motion_of(faces: tuple, tongue: np.ndarray | None, k: int = 0) -> Motion:
    """One random face, held for as many frames as the tongue has rows."""
    shape, exp, pose = (x[k].numpy() for x in faces)
    n = 1 if tongue is None else len(tongue)
    return Motion(np.tile(exp, (n, 1)), np.tile(pose, (n, 1)), shape, tongue=tongue)


def test_the_tongue_is_still_unless_driven(head, drawn):
    """0 is bit-identical; driven, nothing but the tongue moves, and the motion mesh knows nothing of it."""
    flame, faces = Flame(drawn), random_faces(drawn, 1)
    units = np.array([[0, 0], [1, 0], [0, 1], [0.5, 0.5]], np.float32)
    still = next(motion_vertices(flame, motion_of(faces, np.zeros((4, 2), np.float32))))
    np.testing.assert_array_equal(still, next(motion_vertices(flame, replace(motion_of(faces, units), tongue=None))))
    moved = next(motion_vertices(flame, motion_of(faces, units)))
    apart = np.linalg.norm(moved - still, axis=2)
    assert apart[0].max() < 1e-6 and (apart[1:].max(1) > 8e-3).all()
    skin = np.arange(drawn.n_vertices) < drawn.finish.smooth.shape[0]
    tongue = drawn.finish.smooth @ head.masks["tongue"].astype(float) > 0
    others = ~skin
    others[skin] = ~tongue
    assert apart[:, others].max() < 1e-6
    plain = Flame(head)
    np.testing.assert_array_equal(decode(plain, motion_of(faces, units), faces[0][0])[1:].std(0), 0)


def test_shut_teeth_hold_the_tongue_back():
    units, jaw = np.array([[1, 0], [1, 0], [1, 0], [0, 0.4], [2, -1]]), np.array([0.0, 0.2, 0.2, 0.0, 0.2])
    weights = tongue_weights(units, jaw, np.array([0.0, 0.0, 0.47, 0.0, 0.0]))
    np.testing.assert_allclose(weights, [[0, 0], [1, 1], [0, 0], [0, 0.4], [1, 1]])


def deepest(vertices: np.ndarray, points: np.ndarray, surface: np.ndarray, normals: np.ndarray, beside: float) -> float:
    """Metres by which points lie below a surface's nearest vertices, within 6 mm of them."""
    distance, near = cKDTree(vertices[surface]).query(vertices[points])
    depth = -((vertices[points] - vertices[surface[near]]) * normals[surface[near]]).sum(1)
    aside = np.sqrt(np.maximum(distance**2 - depth**2, 0))
    return float(depth[(aside < beside) & (distance < 6e-3)].max(initial=0))


def test_the_tongue_leaves_through_the_mouth(drawn):
    """Over 100 faces, driven fully and at random, it lies at most 3.5 mm deep in the teeth (1 if only lifted) and 6 mm
    in the lips, nine times of ten below 2.8 mm in either; at rest it touches neither, lifted no lips."""
    skin, rng, found = drawn.finish.smooth.shape[0], np.random.default_rng(3), []
    teeth = np.arange(skin, skin + len(read_parts()["teeth"].vertices))
    red = drawn.masks["lips"] & (np.arange(drawn.n_vertices) < skin)
    lips, tongue = np.unique(drawn.faces[red[drawn.faces].all(1)]), np.flatnonzero(drawn.finish.tongue.any((1, 2)))
    normals, flame, faces = VertexNormals(drawn.faces, drawn.n_vertices), Flame(drawn), random_faces(drawn, 100)
    for k in range(100):
        units = np.stack([[0, 0], [0, 1], rng.uniform(0, 1, 2), [1, 0]]).astype(np.float32)
        for vertices in next(motion_vertices(flame, motion_of(faces, units, k))):
            n = normals(vertices)
            found.append([deepest(vertices, tongue, there, n, near) for there, near in ((teeth, 1.5e-3), (lips, 2e-3))])
    depth = np.array(found).reshape(100, 4, 2)
    assert depth[:, 0, 0].max() < 1e-6 and depth[:, 1, 0].max() < 1e-3 and depth[..., 0].max() < 3.5e-3
    assert depth[:, :2, 1].max() < 1e-6 and depth[..., 1].max() < 6e-3
    assert np.quantile(depth, 0.9, axis=0).max() < 2.8e-3


def test_shoulders_stay_while_the_head_turns(head, drawn):
    """The bust keeps its place and light, the skull is where the motion mesh has it, the neck blends."""
    pose = torch.zeros(1, 6)
    pose[0, 1] = 0.6
    zero = (torch.zeros(1, 100), torch.zeros(1, 50))
    plain, still, turned = Flame(head)(*zero, pose)[0], *(Flame(drawn)(*zero, p)[0] for p in (0 * pose, pose))
    first = drawn.finish.smooth.shape[0]
    first += sum(len(read_parts()[name].vertices) for name in ("teeth", "gums"))
    bust = slice(first, first + len(read_parts()["bust"].vertices))
    assert np.linalg.norm((turned - still)[bust].numpy(), axis=1).max() < 5e-3
    skull = np.flatnonzero(head.weights[:, 0] == 0)
    np.testing.assert_allclose(turned[:, 1].numpy()[skull], still[:, 1].numpy()[skull], atol=2e-3)
    lm = head.lmk68
    np.testing.assert_allclose(turned.numpy()[lm], plain.numpy()[lm], atol=1.5e-3)
    normals = DressedNormals(drawn)
    before, after = normals(still.numpy()), normals(turned.numpy())
    assert np.abs(after - before)[bust].max() < 0.12
    teeth = slice(drawn.finish.smooth.shape[0], first)
    assert np.abs(after - before)[teeth].max() > 0.4  # they turn with the head


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
    paint, balls = np.zeros_like(drawn.finish.paint), drawn.masks["left_eyeball"] | drawn.masks["right_eyeball"]
    paint[balls] = (1, 0, 1, 0)
    near = cKDTree(drawn.v_template[balls]).query(drawn.v_template)[0] < 0.035  # the rest of the head only takes time
    kept = near[drawn.faces].any(1) & (np.arange(len(drawn.faces)) < len(drawn.faces) - drawn.finish.blended)
    plain = replace(drawn.finish, paint=paint, blended=0, inner=drawn.finish.inner[kept])
    bare = replace(drawn, faces=drawn.faces[kept], ft=drawn.ft[kept], finish=plain)
    faces = random_faces(drawn, FACES, eyeBlink=1.0, eyeWide=0.0, eyeSquint=0.0, eyeLook=0.0)
    renderer, flame = Renderer(bare, RenderStyle(640, black_bg=True)), Flame(bare)
    for part in zip(*(x.split(50) for x in faces)):
        for picture in renderer.frames(flame(*part).numpy()):
            assert (picture[..., 0] > 90).sum(0).max() <= 1
    rest = (torch.zeros(1, 100), torch.zeros(1, 50), torch.zeros(1, 6))
    assert (next(renderer.frames(flame(*rest).numpy()))[..., 0] > 90).sum() > 1000


def test_teeth_stay_out_of_the_lips(drawn):
    """No tooth lies deeper than 1 mm below the surface of a lip, over 500 faces (closest points, along the normal)."""
    skin = drawn.finish.smooth.shape[0]
    teeth = np.arange(skin, skin + len(read_parts()["teeth"].vertices))
    red = drawn.masks["lips"] & (np.arange(drawn.n_vertices) < skin)
    lips = np.unique(drawn.faces[red[drawn.faces].all(1)])
    normals, flame = VertexNormals(drawn.faces, drawn.n_vertices), Flame(drawn)
    for part in zip(*(x.split(50) for x in random_faces(drawn, FACES))):
        for vertices in flame(*part).numpy():
            assert deepest(vertices, teeth, lips, normals(vertices), 2e-3) < 1e-3
