// The head of one of our .glb files: one set of vertices, drawn in several materials; morph targets, joints, animation.

const WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 };
const TYPES = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };

export function readGlb(buffer) {
  const view = new DataView(buffer), size = view.getUint32(12, true);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, size)));
  return { json, start: 28 + size, buffer };
}

function slice(glb, viewIndex, type, count) {
  return new TYPES[type](glb.buffer, glb.start + glb.json.bufferViews[viewIndex].byteOffset, count);
}

// Dense values, or { rows, values } of a sparse accessor without a base.
function accessor(glb, index) {
  const a = glb.json.accessors[index], width = WIDTHS[a.type];
  if (a.sparse) {
    const { count, indices, values } = a.sparse;
    return { rows: slice(glb, indices.bufferView, indices.componentType, count),
             values: slice(glb, values.bufferView, a.componentType, count * width) };
  }
  if (a.bufferView === undefined) return { rows: [], values: [] };
  return slice(glb, a.bufferView, a.componentType, a.count * width);
}

function sparse(found) {
  if (found.rows) return found;
  return { rows: Uint32Array.from({ length: found.length / 3 }, (_, i) => i), values: found };
}

function material(found) {
  return { name: found.name, blended: found.alphaMode === 'BLEND',
    textured: found.pbrMetallicRoughness.baseColorTexture !== undefined };
}

export class Head {
  constructor(glb) {
    const { json } = glb, { primitives } = json.meshes[0], at = primitives[0].attributes;
    this.points = accessor(glb, at.POSITION); this.normals = accessor(glb, at.NORMAL);
    this.joint = accessor(glb, at.JOINTS_0); this.weight = accessor(glb, at.WEIGHTS_0);
    this.uv = at.TEXCOORD_0 === undefined ? null : accessor(glb, at.TEXCOORD_0);
    this.parts = primitives.map((p) => ({ indices: accessor(glb, p.indices), ...material(json.materials[p.material]) }))
      .sort((a, b) => a.blended - b.blended); // what is blended goes over the rest
    this.colours = at.COLOR_0 === undefined ? null : accessor(glb, at.COLOR_0);
    this.targets = primitives[0].targets.map((t) => ({ point: sparse(accessor(glb, t.POSITION)),
      normal: t.NORMAL === undefined ? { rows: [], values: [] } : sparse(accessor(glb, t.NORMAL)) }));
    this.nodes = json.nodes; this.joints = json.skins[0].joints;
    this.inverse = accessor(glb, json.skins[0].inverseBindMatrices);
    const animation = json.animations[0];
    this.channels = animation.channels.map((c) => ({ node: c.target.node, path: c.target.path,
      keys: accessor(glb, animation.samplers[c.sampler].output) }));
    this.times = accessor(glb, animation.samplers[0].input);
    this.moved = new Float32Array(this.points.length); this.turned = new Float32Array(this.points.length);
    const image = json.images && json.images[0];
    this.image = image && new Blob([new Uint8Array(glb.buffer, glb.start + json.bufferViews[image.bufferView].byteOffset,
      json.bufferViews[image.bufferView].byteLength)], { type: image.mimeType });
  }

  // Between two keys; linear, which for the small steps of rotations is as good as spherical once normalised.
  value(channel, t) {
    const n = this.times.length, width = channel.keys.length / n;
    const place = Math.min(Math.max(t / (this.times[n - 1] || 1) * (n - 1), 0), n - 1), k = Math.floor(place);
    const part = place - k, next = Math.min(k + 1, n - 1), out = new Float32Array(width);
    for (let i = 0; i < width; i++) {
      out[i] = channel.keys[k * width + i] * (1 - part) + channel.keys[next * width + i] * part;
    }
    return out;
  }

  pose(t) {
    const { moved, turned } = this, locals = this.nodes.map((n) => ({ r: n.rotation || [0, 0, 0, 1], t: n.translation || [0, 0, 0] }));
    let weights = [];
    for (const channel of this.channels) {
      const value = this.value(channel, t);
      if (channel.path === 'weights') weights = value;
      else locals[channel.node][channel.path === 'rotation' ? 'r' : 't'] = value;
    }
    moved.set(this.points); turned.set(this.normals);
    this.targets.forEach((target, k) => {
      const w = weights[k];
      if (Math.abs(w) < 1e-5) return;
      for (const [into, { rows, values }] of [[moved, target.point], [turned, target.normal]]) {
        for (let i = 0; i < rows.length; i++) {
          const v = 3 * rows[i];
          into[v] += w * values[3 * i]; into[v + 1] += w * values[3 * i + 1]; into[v + 2] += w * values[3 * i + 2];
        }
      }
    });
    this.skin(this.worlds(locals));
  }

  worlds(locals) {
    const worlds = [], visit = (node, parent) => {
      const here = multiply(parent, matrix(locals[node]));
      worlds[node] = here;
      (this.nodes[node].children || []).forEach((child) => visit(child, here));
    };
    visit(this.joints[0], identity());
    return this.joints.map((node, k) => multiply(worlds[node], this.inverse.subarray(16 * k, 16 * k + 16)));
  }

  skin(worlds) {
    const { moved, turned, joint, weight } = this, m = new Float32Array(16);
    for (let v = 0; v < moved.length / 3; v++) {
      m.fill(0);
      for (let j = 0; j < 4; j++) {
        const w = weight[4 * v + j];
        if (w) for (let i = 0; i < 16; i++) m[i] += w * worlds[joint[4 * v + j]][i];
      }
      transform(m, moved, 3 * v, 1); transform(m, turned, 3 * v, 0);
    }
  }
}

const identity = () => Float32Array.from([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);

function multiply(a, b) { // column-major
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++) {
    for (let k = 0; k < 4; k++) out[4 * c + r] += a[4 * k + r] * b[4 * c + k];
  }
  return out;
}

function matrix({ r, t }) {
  const length = Math.hypot(...r), [x, y, z, w] = Array.from(r, (q) => q / length);
  return Float32Array.from([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w), 0,
    2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w), 0,
    2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y), 0, t[0], t[1], t[2], 1]);
}

function transform(m, a, i, w) {
  const x = a[i], y = a[i + 1], z = a[i + 2];
  a[i] = m[0] * x + m[4] * y + m[8] * z + m[12] * w;
  a[i + 1] = m[1] * x + m[5] * y + m[9] * z + m[13] * w;
  a[i + 2] = m[2] * x + m[6] * y + m[10] * z + m[14] * w;
}
