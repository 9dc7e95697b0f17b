// A talking head from one of our .glb files, with its speech as the clock. WebGL 2, no libraries.
// viewer.html#<token>: shows ../take/<token>/take.glb and take.wav. Drag: orbit, wheel: zoom.
// Light, background and framing are the videos': stage.json, made by web/scene.py.

import { Head, readGlb } from './head.js';

const token = location.hash.slice(1);
const note = document.getElementById('note'), canvas = document.getElementById('view');
const sound = document.getElementById('sound');
const KINDS = { eyes: 1, mouth: 2, soft: 3, rim: 4 }; // head.frag
const CAMERA = 'uniform vec3 CAMERA;\n';

class View {
  constructor(head, stage, shaders) {
    this.head = head; this.stage = stage; this.yaw = 0; this.pitch = 0; this.distance = stage.distance;
    const gl = this.gl = canvas.getContext('webgl2', { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error('this browser has no WebGL 2');
    const program = this.program = gl.createProgram(), start = '#version 300 es\nprecision highp float;\n' + CAMERA;
    for (const [kind, source] of [[gl.VERTEX_SHADER, shaders[0]], [gl.FRAGMENT_SHADER, stage.shading + shaders[1]]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, start + source); gl.compileShader(shader); gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program); gl.enable(gl.DEPTH_TEST); gl.clearColor(0, 0, 0, 0); // the page's gradient shows through
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.position = this.attribute('position', head.moved, 3);
    this.normal = this.attribute('normal', head.turned, 3);
    if (head.uv) this.attribute('uv', head.uv, 2);
    if (head.colours) this.attribute('colour', Float32Array.from(head.colours, (c) => c / 65535), 4);
    else gl.vertexAttrib4f(gl.getAttribLocation(program, 'colour'), 1, 1, 1, 1);
    for (const part of head.parts) {
      part.buffer = gl.createBuffer();
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.buffer);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, part.indices, gl.STATIC_DRAW);
    }
  }

  attribute(name, values, width) {
    const { gl } = this, buffer = gl.createBuffer(), place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    if (place >= 0) { gl.enableVertexAttribArray(place); gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0); }
    return buffer;
  }

  uniform(kind, name, ...values) { this.gl[`uniform${kind}`](this.gl.getUniformLocation(this.program, name), ...values); }

  async texture(blob) {
    const { gl } = this, bitmap = await createImageBitmap(blob);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, bitmap);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  draw(t) {
    const { gl, head } = this, ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    head.pose(t);
    for (const [buffer, values] of [[this.position, head.moved], [this.normal, head.turned]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
    }
    gl.viewport(0, 0, width, height); gl.depthMask(true); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.look(width / height);
    for (const part of head.parts) {
      gl[part.blended ? 'enable' : 'disable'](gl.BLEND); gl.depthMask(!part.blended);
      this.uniform('1i', 'kind', KINDS[part.name] || 0); this.uniform('1i', 'textured', part.textured);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.buffer);
      const type = part.indices instanceof Uint16Array ? gl.UNSIGNED_SHORT : gl.UNSIGNED_INT;
      gl.drawElements(gl.TRIANGLES, part.indices.length, type, 0);
    }
  }

  look(aspect) { // at the face from a distance, round it by yaw and over it by pitch
    const near = 0.05, far = 5, depth = near - far;
    const scale = 1 / (Math.tan(this.stage.fov * Math.PI / 360) * Math.max(1, 1 / aspect));
    this.uniform('Matrix4fv', 'projection', false, Float32Array.from([scale / aspect, 0, 0, 0, 0, scale, 0, 0,
      0, 0, (far + near) / depth, -1, 0, 0, 2 * far * near / depth, 0]));
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    this.uniform('Matrix3fv', 'turn', false, Float32Array.from([cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]));
    this.uniform('3fv', 'centre', this.stage.centre); this.uniform('3f', 'CAMERA', 0, 0, this.distance);
  }
}

function pointer(view) { // one finger or the mouse turns, two fingers or the wheel zoom
  const fingers = new Map();
  const zoom = (factor) => { view.distance = Math.min(Math.max(view.distance * factor, 0.3), 3); };
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

function backdrop({ background, vignette }) { // darker with the square of the distance from the middle
  const stop = (t) => `rgb(${background.map((c) => Math.round(255 * c * (1 - vignette * t * t)))}) ${100 * t}%`;
  canvas.style.background = `radial-gradient(farthest-corner, ${[0, 0.25, 0.5, 0.75, 1].map(stop)})`;
}

async function load(address, as) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error('this take is no longer here; make it again');
  return answer[as]();
}

async function main() {
  if (!/^[0-9a-f]{32}$/.test(token)) { note.textContent = 'no take yet'; return; }
  const take = `../take/${token}/take`;
  const [glb, stage, ...shaders] = await Promise.all([load(`${take}.glb`, 'arrayBuffer'), load('stage.json', 'json'),
    load('head.vert', 'text'), load('head.frag', 'text')]);
  const head = new Head(readGlb(glb)), view = new View(head, stage, shaders);
  sound.src = `${take}.wav`;
  backdrop(stage);
  if (head.image) await view.texture(head.image);
  pointer(view);
  note.textContent = matchMedia('(pointer: coarse)').matches ? 'drag: turn, two fingers: zoom' : 'drag: turn, wheel: zoom';
  Object.assign(window, { view, sound }); // for tests
  view.frames = 0;
  let drawn = '';
  const step = () => { // draws what has changed: a page that stands still costs nothing
    const wanted = [sound.currentTime, view.yaw, view.pitch, view.distance, canvas.clientWidth, canvas.clientHeight].join();
    if (wanted !== drawn) { view.draw(sound.currentTime); view.frames++; drawn = wanted; }
    requestAnimationFrame(step);
  };
  step();
}

main().catch((error) => { note.textContent = error.message; });
