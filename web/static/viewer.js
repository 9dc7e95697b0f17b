// A talking head from one of our .glb files. WebGL 2, no libraries. Drag or arrow keys: orbit; wheel, + and -: zoom.
// Light and framing are the videos': stage.json, made by web/scene.py. Who draws decides when: see `View.draw`.

import { Head, readGlb } from './head.js';

const KINDS = { eyes: 1, mouth: 2, soft: 3, rim: 4 }; // head.frag
const CAMERA = 'uniform vec3 CAMERA;\n';
const FPS = 30; // drawn: motion has 25, and weak machines have other things to do
const NEAREST = 0.3, FARTHEST = 3, STEEPEST = 1.4; // metres, radians

export async function load(address, as) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error('This take is no longer here; make it again.');
  return answer[as]();
}

// What all views share: { stage, shaders }.
export async function loadStage(stage = '/stage.json', folder = '/static/') {
  const [found, ...shaders] = await Promise.all([load(stage, 'json'), load(`${folder}head.vert`, 'text'),
    load(`${folder}head.frag`, 'text')]);
  return { stage: found, shaders };
}

export class View {
  constructor(canvas, { stage, shaders }) {
    Object.assign(this, { canvas, stage, shaders, head: null, drawn: '', frames: 0 });
    this.reset(); this.start(); this.steer();
    canvas.addEventListener('webglcontextlost', (e) => e.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => { this.start(); if (this.head) this.show(this.head); });
  }

  reset() { this.yaw = 0; this.pitch = 0; this.distance = this.stage.distance; }

  start() {
    const gl = this.gl = this.canvas.getContext('webgl2', { antialias: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error('This browser cannot show 3-D (WebGL 2 is off); the video appears once it is made.');
    const program = this.program = gl.createProgram(), start = '#version 300 es\nprecision highp float;\n' + CAMERA;
    const sources = [[gl.VERTEX_SHADER, this.shaders[0]], [gl.FRAGMENT_SHADER, this.stage.shading + this.shaders[1]]];
    for (const [kind, source] of sources) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, start + source); gl.compileShader(shader); gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program); gl.enable(gl.DEPTH_TEST); gl.clearColor(0, 0, 0, 0); // the page's gradient shows through
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.buffers = []; this.image = null;
  }

  // A glb as an ArrayBuffer, or a Head; the camera stays where it is.
  async show(glb) {
    const { gl } = this, head = glb instanceof Head ? glb : new Head(readGlb(glb));
    const bitmap = head.image && await createImageBitmap(head.image);
    this.buffers.forEach((buffer) => gl.deleteBuffer(buffer)); this.buffers = [];
    this.position = this.attribute('position', head.moved, 3);
    this.normal = this.attribute('normal', head.turned, 3);
    if (head.uv) this.attribute('uv', head.uv, 2);
    const place = gl.getAttribLocation(this.program, 'colour');
    if (head.colours) this.attribute('colour', Float32Array.from(head.colours, (c) => c / 65535), 4);
    else { gl.disableVertexAttribArray(place); gl.vertexAttrib4f(place, 1, 1, 1, 1); }
    for (const part of head.parts) {
      part.buffer = this.buffer();
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.buffer);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, part.indices, gl.STATIC_DRAW);
    }
    if (bitmap) this.texture(bitmap);
    this.head = head; this.drawn = '';
  }

  buffer() { const made = this.gl.createBuffer(); this.buffers.push(made); return made; }

  attribute(name, values, width) {
    const { gl } = this, buffer = this.buffer(), place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    if (place >= 0) { gl.enableVertexAttribArray(place); gl.vertexAttribPointer(place, width, gl.FLOAT, false, 0, 0); }
    return buffer;
  }

  uniform(kind, name, ...values) { this.gl[`uniform${kind}`](this.gl.getUniformLocation(this.program, name), ...values); }

  texture(bitmap) {
    const { gl } = this;
    if (this.image) gl.deleteTexture(this.image);
    gl.bindTexture(gl.TEXTURE_2D, this.image = gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, bitmap);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  // Draw the head at this time if anything has changed: a page that stands still costs nothing.
  draw(seconds) {
    const t = Math.round(seconds * FPS) / FPS;
    const { gl, head, canvas } = this, ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    const wanted = [t, this.yaw, this.pitch, this.distance, width, height].join();
    if (!head || !width || wanted === this.drawn || gl.isContextLost()) return;
    this.drawn = wanted; this.frames++;
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

  turn(yaw, pitch) {
    this.yaw += yaw; this.pitch = Math.min(Math.max(this.pitch + pitch, -STEEPEST), STEEPEST);
  }

  zoom(factor) { this.distance = Math.min(Math.max(this.distance * factor, NEAREST), FARTHEST); }

  steer() { // one finger or the mouse turns, two fingers zoom; the wheel zooms once the view has the focus
    const { canvas } = this, fingers = new Map();
    const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
    canvas.addEventListener('pointerdown', (e) => {
      fingers.set(e.pointerId, [e.clientX, e.clientY]); canvas.setPointerCapture(e.pointerId);
    });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, (e) => fingers.delete(e.pointerId));
    canvas.addEventListener('pointermove', (e) => {
      const last = fingers.get(e.pointerId);
      if (!last) return;
      const before = fingers.size === 2 ? spread() : 0;
      fingers.set(e.pointerId, [e.clientX, e.clientY]);
      if (fingers.size === 2) this.zoom(before / Math.max(spread(), 1));
      else this.turn((e.clientX - last[0]) * 0.008, (e.clientY - last[1]) * 0.008);
    });
    canvas.addEventListener('wheel', (e) => {
      if (document.activeElement !== canvas) return; // a visitor who scrolls the page does not zoom
      e.preventDefault(); this.zoom(Math.exp(e.deltaY * 0.001));
    }, { passive: false });
    const keys = { ArrowLeft: () => this.turn(-0.15, 0), ArrowRight: () => this.turn(0.15, 0),
      ArrowUp: () => this.turn(0, -0.15), ArrowDown: () => this.turn(0, 0.15), '+': () => this.zoom(0.9),
      '=': () => this.zoom(0.9), '-': () => this.zoom(1.1), Home: () => this.reset() };
    canvas.addEventListener('keydown', (e) => {
      if (keys[e.key] && !e.ctrlKey && !e.metaKey) { e.preventDefault(); keys[e.key](); }
    });
  }
}

// The videos' background behind a canvas: darker with the square of the distance from the middle; `dim` for dark pages.
export function backdrop({ background, vignette }, dim = 1) {
  const stop = (t) => `rgb(${background.map((c) => Math.round(255 * dim * c * (1 - vignette * t * t)))}) ${100 * t}%`;
  return `radial-gradient(farthest-corner, ${[0, 0.25, 0.5, 0.75, 1].map(stop)})`;
}
