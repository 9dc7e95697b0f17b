// The head of a glb, moved by coefficients instead of its own animation: what utils/exports/rig.py does, frame by frame.

import { Head } from './head.js';
import { COEFFICIENTS } from './talker.js';

const ROOT = 0, NECK = 1, JAW = 2, FPS = 25, ROTATION = 50, JAW_ROTATION = 53;

export class LiveHead extends Head {
  // rig: { joints (5, 3), steps (5, 3, 50), expressions, targets }: names and how joints travel with expressions.
  constructor(glb, rig) {
    super(glb);
    this.rig = rig; this.headMotion = true; this.clear();
    this.channels = [{ path: 'weights' }];
    for (const node of [NECK, JAW]) for (const path of ['rotation', 'translation']) this.channels.push({ node, path });
  }

  clear() { this.frames = []; }

  // Raw coefficients of further frames.
  push(frames) {
    for (let i = 0; i < frames.length; i += COEFFICIENTS) this.frames.push(frames.subarray(i, i + COEFFICIENTS));
  }

  // Coefficients at a time in seconds, between two frames; the neutral face before there are any.
  at(t) {
    const { frames } = this, out = new Float32Array(COEFFICIENTS);
    if (frames.length) {
      const place = Math.min(Math.max(t * FPS, 0), frames.length - 1), k = Math.floor(place), part = place - k;
      const next = frames[Math.min(k + 1, frames.length - 1)];
      for (let i = 0; i < COEFFICIENTS; i++) out[i] = frames[k][i] * (1 - part) + next[i] * part;
    }
    if (!this.headMotion) out.fill(0, ROTATION, JAW_ROTATION);
    return out;
  }

  pose(t) { this.now = this.at(t); super.pose(t); }

  value({ node, path }) { // replaces the file's animation
    const { now } = this, turn = now.subarray(ROTATION, JAW_ROTATION), jaw = now.subarray(JAW_ROTATION);
    if (path === 'weights') return this.weights(now, jaw[0]);
    if (path === 'rotation') return quaternion(node === NECK ? turn : jaw);
    const { joints } = this.rig, root = this.travelled(ROOT), hinge = this.travelled(JAW);
    return node === NECK ? sum(rotated(turn, sum(joints[NECK], root, -1)), sum(root, joints[ROOT], -1))
      : sum(rotated(jaw, sum(joints[JAW], hinge, -1)), sum(hinge, joints[NECK], -1));
  }

  weights(now, jaw) {
    const known = { jawCorrectiveSin: Math.sin(jaw), jawCorrectiveCos: Math.cos(jaw) - 1 };
    this.rig.expressions.forEach((name, i) => { known[name] = now[i]; });
    return this.rig.targets.map((name) => known[name] || 0);
  }

  travelled(joint) { // where a joint stands in this expression
    return this.rig.joints[joint].map((x, axis) => this.rig.steps[joint][axis].reduce((at, s, i) => at + s * this.now[i], x));
  }
}

const sum = (a, b, sign = 1) => a.map((x, i) => x + sign * b[i]);

function quaternion([x, y, z]) {
  const angle = Math.hypot(x, y, z), s = angle ? Math.sin(angle / 2) / angle : 0.5;
  return [x * s, y * s, z * s, Math.cos(angle / 2)];
}

function rotated(vector, point) { // v + 2 q x (q x v + w v)
  const [x, y, z, w] = quaternion(vector), q = [x, y, z];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const turn = cross(q, sum(cross(q, point), point.map((v) => w * v)));
  return point.map((v, i) => v + 2 * turn[i]);
}
