"""Reads and evaluates a .glb with nothing but json and numpy, straight from the glTF 2.0 specification (for tests)."""

import json
import struct
from pathlib import Path

import numpy as np

COMPONENTS = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, total = struct.unpack_from("<III", data)
        assert (magic, version, total) == (0x46546C67, 2, len(data))
        size, kind = struct.unpack_from("<II", data, 12)
        assert kind == 0x4E4F534A
        self.document = json.loads(data[20 : 20 + size])
        length, kind = struct.unpack_from("<II", data, 20 + size)
        assert kind == 0x004E4942
        self.binary = data[28 + size : 28 + size + length]

    def array(self, index: int) -> np.ndarray:
        accessor = self.document["accessors"][index]
        width, count = WIDTHS[accessor["type"]], accessor["count"]
        values = np.zeros((count, width), COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], values.dtype, count * width).reshape(count, width).copy()
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            kind = np.dtype(COMPONENTS[sparse["indices"]["componentType"]])
            rows = self._view(sparse["indices"]["bufferView"], kind, sparse["count"])
            changed = self._view(sparse["values"]["bufferView"], values.dtype, sparse["count"] * width)
            values[rows] = changed.reshape(-1, width)
        return values

    def _view(self, index: int, dtype: np.dtype, count: int) -> np.ndarray:
        return np.frombuffer(self.binary, dtype, count, self.document["bufferViews"][index].get("byteOffset", 0))

    def primitive(self) -> dict:
        return self.document["meshes"][0]["primitives"][0]

    def vertices(self, frame: int) -> np.ndarray:
        """World positions (N, 3) at a key frame: morph, then skin with the joints' world matrices."""
        nodes = [dict(node) for node in self.document["nodes"]]
        weights = np.array(self.document["meshes"][0]["weights"])
        animation = self.document["animations"][0]
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            keys = self.array(sampler["output"])
            target = channel["target"]
            if target["path"] == "weights":
                weights = keys.reshape(-1, len(weights))[frame]
            else:
                nodes[target["node"]][target["path"]] = keys[frame]
        primitive = self.primitive()
        points = self.array(primitive["attributes"]["POSITION"]).astype(float)
        for weight, morph in zip(weights, primitive["targets"], strict=True):
            points = points + weight * self.array(morph["POSITION"])
        return self._skinned(points, nodes)

    def _skinned(self, points: np.ndarray, nodes: list[dict]) -> np.ndarray:
        skin = self.document["skins"][0]
        inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}

        def world(node: int) -> np.ndarray:
            matrix = local_matrix(nodes[node])
            return world(parent[node]) @ matrix if node in parent else matrix

        matrices = np.stack([world(joint) @ inverse[k] for k, joint in enumerate(skin["joints"])])
        attributes = self.primitive()["attributes"]
        joint, weight = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"])
        homogeneous = np.c_[points, np.ones(len(points))]
        return np.einsum("vk,vkxy,vy->vx", weight, matrices[joint], homogeneous)[:, :3]


def local_matrix(node: dict) -> np.ndarray:
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
