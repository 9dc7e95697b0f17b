// A talking head from one of our .glb files, with its speech as the clock. WebGL 2, no libraries.
// viewer.html#<token>: shows ../take/<token>/take.glb and take.wav. Drag: orbit, wheel: zoom.

const token = location.hash.slice(1);
const note = document.getElementById('note'), canvas = document.getElementById('view');
const sound = document.getElementById('sound');
const WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 };
const TYPES = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };

function readGlb(buffer) {
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

class Head {
  constructor(glb) {
    const { json } = glb, primitive = json.meshes[0].primitives[0], at = primitive.attributes;
    this.points = accessor(glb, at.POSITION); this.normals = accessor(glb, at.NORMAL);
    this.joint = accessor(glb, at.JOINTS_0); this.weight = accessor(glb, at.WEIGHTS_0);
    this.uv = accessor(glb, at.TEXCOORD_0); this.indices = accessor(glb, primitive.indices);
    this.colours = at.COLOR_0 === undefined ? null : accessor(glb, at.COLOR_0);
    this.targets = primitive.targets.map((t) => ({ point: sparse(accessor(glb, t.POSITION)),
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

const VERTEX = `#version 300 es
in vec3 position; in vec3 normal; in vec2 uv; in vec4 colour;
uniform mat4 camera; out vec3 n; out vec2 st; out vec3 paint;
void main() { n = normal; st = uv; paint = sqrt(colour.rgb); gl_Position = camera * vec4(position, 1.0); }`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 n; in vec2 st; in vec3 paint; uniform sampler2D image; uniform float textured; uniform vec3 eye; out vec4 result;
void main() {
  vec3 albedo = mix(paint, texture(image, st).rgb, textured); albedo *= albedo;
  vec3 m = normalize(n);
  if (!gl_FrontFacing) { // the dark of the mouth; not the slivers of back sides along the outline
    m = -m; albedo *= mix(1.0, 0.06, smoothstep(0.05, 0.3, dot(m, eye)));
  }
  vec3 key = normalize(vec3(-0.5, 0.5, 0.85)), fill = normalize(vec3(0.9, 0.1, 0.5)), half_way = normalize(key + eye);
  vec3 wrap = vec3(0.34, 0.24, 0.20);
  vec3 light = vec3(0.26) + 0.08 * m.y + vec3(1.05, 1.0, 0.95) * pow(max((dot(m, key) + wrap) / (1.0 + wrap), 0.0), vec3(2.0))
    + 0.22 * max(dot(m, fill), 0.0) + 0.35 * pow(max(1.0 - abs(dot(m, eye)), 0.0), 3.0);
  vec3 c = albedo * light + 0.05 * pow(max(dot(m, half_way), 0.0), 24.0);
  result = vec4(sqrt(1.0 - exp(-1.5 * c)), 1.0);
}`;

class View {
  constructor(head) {
    this.head = head; this.yaw = 0; this.pitch = 0; this.distance = 0.95;
    const gl = this.gl = canvas.getContext('webgl2', { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error('this browser has no WebGL 2');
    const program = this.program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source); gl.compileShader(shader); gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program); gl.enable(gl.DEPTH_TEST); gl.clearColor(0.93, 0.94, 0.95, 1);
    this.position = this.attribute('position', head.moved, 3);
    this.normal = this.attribute('normal', head.turned, 3);
    this.attribute('uv', head.uv, 2);
    if (head.colours) this.attribute('colour', Float32Array.from(head.colours, (c) => c / 65535), 4);
    else gl.vertexAttrib4f(gl.getAttribLocation(program, 'colour'), 0.55, 0.45, 0.4, 1);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, head.indices, gl.STATIC_DRAW);
  }

  attribute(name, values, width) {
    const { gl } = this, buffer = gl.createBuffer(), place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    if (place >= 0) { gl.enableVertexAttribArray(place); gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0); }
    return buffer;
  }

  async texture(blob) {
    const { gl } = this, bitmap = await createImageBitmap(blob);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, bitmap);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.uniform1f(gl.getUniformLocation(this.program, 'textured'), 1);
  }

  draw(t) {
    const { gl, head } = this, ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    head.pose(t);
    for (const [buffer, values] of [[this.position, head.moved], [this.normal, head.turned]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
    }
    gl.viewport(0, 0, width, height); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const [camera, eye] = this.camera(width / height);
    gl.uniformMatrix4fv(gl.getUniformLocation(this.program, 'camera'), false, camera);
    gl.uniform3fv(gl.getUniformLocation(this.program, 'eye'), eye);
    const type = head.indices instanceof Uint16Array ? gl.UNSIGNED_SHORT : gl.UNSIGNED_INT;
    gl.drawElements(gl.TRIANGLES, head.indices.length, type, 0);
  }

  camera(aspect) { // looks at the face from a distance, round it by yaw and over it by pitch
    const near = 0.05, far = 5, scale = 1 / Math.tan(0.16 * Math.max(1, 1 / aspect)), depth = near - far;
    const projection = Float32Array.from([scale / aspect, 0, 0, 0, 0, scale, 0, 0,
      0, 0, (far + near) / depth, -1, 0, 0, 2 * far * near / depth, 0]);
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    const turn = Float32Array.from([cy, sp * sy, -cp * sy, 0, 0, cp, sp, 0, sy, -sp * cy, cp * cy, 0, 0, 0, 0, 1]);
    const back = identity(); back[14] = -this.distance;
    const centre = identity(); centre[13] = 0.01; centre[14] = 0.02;
    const eye = [turn[2], turn[6], turn[10]]; // the view's axis in the head's space
    return [multiply(projection, multiply(back, multiply(turn, centre))), eye];
  }
}

function pointer(view) { // one finger or the mouse turns, two fingers or the wheel zoom
  const fingers = new Map();
  const zoom = (factor) => { view.distance = Math.min(Math.max(view.distance * factor, 0.35), 3); };
  const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  const used = () => { note.textContent = ''; };
  canvas.addEventListener('pointerdown', (e) => {
    used();
    fingers.set(e.pointerId, [e.clientX, e.clientY]); canvas.setPointerCapture(e.pointerId);
  });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, (e) => fingers.delete(e.pointerId));
  canvas.addEventListener('pointermove', (e) => {
    const last = fingers.get(e.pointerId);
    if (!last) return;
    const before = fingers.size === 2 ? spread() : 0;
    fingers.set(e.pointerId, [e.clientX, e.clientY]);
    if (fingers.size === 2) { zoom(before / Math.max(spread(), 1)); return; }
    view.yaw += (e.clientX - last[0]) * 0.008;
    view.pitch = Math.min(Math.max(view.pitch + (e.clientY - last[1]) * 0.008, -1.4), 1.4);
  });
  canvas.addEventListener('wheel', (e) => { e.preventDefault(); used(); zoom(Math.exp(e.deltaY * 0.001)); }, { passive: false });
}

async function main() {
  if (!/^[0-9a-f]{32}$/.test(token)) { note.textContent = 'no take yet'; return; }
  const answer = await fetch(`../take/${token}/take.glb`);
  if (!answer.ok) throw new Error('this take is no longer here; make it again');
  const head = new Head(readGlb(await answer.arrayBuffer())), view = new View(head);
  sound.src = `../take/${token}/take.wav`;
  if (head.image) await view.texture(head.image);
  pointer(view);
  note.textContent = matchMedia('(pointer: coarse)').matches ? 'drag: turn, two fingers: zoom' : 'drag: turn, wheel: zoom';
  window.view = view; // for tests
  const step = () => { view.draw(sound.currentTime); view.frames = (view.frames || 0) + 1; requestAnimationFrame(step); };
  step();
}

main().catch((error) => { note.textContent = error.message; });
