"""Our .usda, and the .usdc that usd-core makes of it, opened by usd-core: the same head as our decoder's."""

import numpy as np
import pytest
from pxr import Sdf, Usd, UsdGeom, UsdShade, UsdSkel, UsdValidation

from benchmarks.exports.formats import decoded, long_motion
from benchmarks.exports.readers import FRAMES, usd
from models.exports.motion_export import ExportOptions, export
from models.heads.flame import Flame, load_flame
from utils.exports.rig import make_rig
from utils.exports.usd import joint_paths
from utils.rendering.looks import dress
from utils.timebase import FPS


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(path of the .usda with a texture, decoder, motion of 10 s)."""
    flame, motion = load_flame(None), long_motion(10)
    look = dress(flame.head, "skin")
    options = ExportOptions(texture=look.texture, drawn_head=look.head)
    (path,) = export(motion, flame, ("usd",), tmp_path_factory.mktemp("usd") / "head", options)
    return path, flame, motion


@pytest.fixture(scope="module")
def stage(scene):
    return Usd.Stage.Open(str(scene[0]))


@pytest.mark.parametrize("ending", [".usda", ".usdc"])
def test_baked_mesh_equals_the_decoder(scene, ending):
    path, flame, motion = scene
    if ending == ".usdc":
        Sdf.Layer.FindOrOpen(str(path)).Export(str(path.with_suffix(ending)))
    points = usd(path.with_suffix(ending))
    expected = decoded(flame, motion)
    assert points.shape == expected.shape == (len(FRAMES), flame.n_vertices, 3)
    assert np.abs(points - expected).max() < 1e-6  # metres
    assert np.abs(expected[0] - expected[1]).max() > 2e-3


def test_units_axis_and_time(stage, scene):
    assert UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, len(scene[2]) - 1)
    assert stage.GetTimeCodesPerSecond() == stage.GetFramesPerSecond() == FPS
    assert stage.GetDefaultPrim().GetTypeName() == "SkelRoot"
    low, high = UsdGeom.Mesh(stage.GetPrimAtPath("/Head/Mesh")).GetExtentAttr().Get()
    assert 0.2 < high[1] - low[1] < 0.5  # a head, upright, in metres


def test_mesh_at_rest(stage, scene):
    _, flame, motion = scene
    mesh, rig = UsdGeom.Mesh(stage.GetPrimAtPath("/Head/Mesh")), make_rig(flame.head, motion)
    np.testing.assert_allclose(np.array(mesh.GetPointsAttr().Get()), rig.rest, atol=1e-7)
    faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    assert faces.max() == flame.n_vertices - 1 and set(mesh.GetFaceVertexCountsAttr().Get()) == {3}


def test_skeleton_and_animation(stage, scene):
    _, flame, motion = scene
    rig = make_rig(flame.head, motion)
    cache, root = UsdSkel.Cache(), UsdSkel.Root(stage.GetPrimAtPath("/Head"))
    assert cache.Populate(root, Usd.PrimDefaultPredicate)
    query = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath("/Head/Skeleton")))
    assert list(query.GetJointOrder()) == joint_paths()
    animation = query.GetAnimQuery()
    assert animation.GetBlendShapeWeightTimeSamples() == list(range(len(motion)))
    assert animation.GetJointTransformTimeSamples() == list(range(len(motion)))
    weights = np.stack([animation.ComputeBlendShapeWeights(frame) for frame in range(len(motion))])
    np.testing.assert_allclose(weights, rig.target_weights(), atol=1e-6)
    translations, rotations, _ = animation.ComputeJointLocalTransformComponents(123)
    np.testing.assert_allclose(np.array(translations), rig.translations[123], atol=1e-6)
    found = [[*each.GetImaginary(), each.GetReal()] for each in rotations]
    np.testing.assert_allclose(found, rig.rotations[123], atol=1e-6)


def test_blend_shapes(stage, scene):
    _, flame, motion = scene
    rig = make_rig(flame.head, motion)
    query = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(stage.GetPrimAtPath("/Head/Mesh")))
    assert query.GetNumBlendShapes() == len(rig.targets)
    for k, target in enumerate(rig.targets):
        shape = query.GetBlendShape(k)
        offsets = np.zeros_like(target.offsets)
        offsets[np.array(shape.GetPointIndicesAttr().Get(), int)] = np.array(shape.GetOffsetsAttr().Get()).reshape(
            -1, 3
        )
        assert shape.GetPrim().GetName() == target.name
        np.testing.assert_allclose(offsets, target.offsets, atol=2e-6)


def test_dressed_head_keeps_its_shape_and_materials(scene):
    """Teeth, hair and bust move as the drawn head's; what has only a colour and what is blended have own materials."""
    path, flame, motion = scene
    look = dress(flame.head, "skin", hair="bob")
    options = ExportOptions(texture=look.texture, dressed=look.dressed)
    (path,) = export(motion, flame, ("usd",), path.parent / "dressed", options)
    assert np.abs(usd(path) - decoded(Flame(look.drawn), motion)).max() < 1e-6  # metres
    found = Usd.Stage.Open(str(path))
    test_usds_own_validators_find_nothing(found)
    mesh, bound = found.GetPrimAtPath("/Head/Mesh"), UsdShade.MaterialBindingAPI
    subsets = bound(mesh).GetMaterialBindSubsets()
    names = [bound(each).ComputeBoundMaterial()[0].GetPath().name for each in subsets]
    assert names == ["Skin", "Painted", "Eyes", "Mouth", "PaintedMouth", "Soft", "Rim"]
    assert sum(len(subset.GetIndicesAttr().Get()) for subset in subsets) == len(look.drawn.faces)
    blended = [len(subset.GetIndicesAttr().Get()) for subset in subsets[-2:]]
    assert min(blended) > 0 and sum(blended) == look.drawn.finish.blended
    inputs = {name: UsdShade.Shader(found.GetPrimAtPath(f"/Head/{name}/Surface")) for name in names}
    ior = {name: shader.GetInput("ior").Get() for name, shader in inputs.items()}
    assert ior == {name: 1.0 if "Mouth" in name else 1.5 for name in inputs}
    assert inputs["Eyes"].GetInput("roughness").Get() < 0.2
    textured = {name for name in inputs if found.GetPrimAtPath(f"/Head/{name}/Image")}
    assert textured == {"Skin", "Eyes", "Mouth", "Rim"}


def test_usds_own_validators_find_nothing(stage):
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    assert len(validators) > 10 and [error.GetMessage() for error in errors] == []
