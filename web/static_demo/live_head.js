// The head of a glb, moved by coefficients instead of its own animation: what utils/exports/rig.py does, frame by frame.

import { Head } from './head.js';
import { Mixer, clip } from './mixer.js';
import { quaternion, rotated, sum } from './rotation.js';
import { COEFFICIENTS } from './talker.js';

const ROOT = 0, NECK = 1, JAW = 2, FPS = 25, ROTATION = 50, JAW_ROTATION = 53, TONGUE = 56;

export class LiveHead extends Head {
  // rig: rig.json, names and how joints travel with expressions; table: mixer.json.
  constructor(glb, rig, table) {
    super(glb);
    Object.assign(this, { rig, table, config: {} });
    this.clear();
    this.channels = [{ path: 'weights' }];
    for (const node of [NECK, JAW]) for (const path of ['rotation', 'translation']) this.channels.push({ node, path });
  }

  clear() { this.made = []; this.frames = []; this.mixer = new Mixer(this.table, this.config); this.rest(); }

  // Raw coefficients of further frames. Of live speech only the last ones are kept for another mix.
  push(frames, live = false) { this.made = live ? [frames] : [...this.made, frames]; this.show(this.mixer.push(frames)); }

  show(frames) {
    for (let i = 0; i < frames.length; i += COEFFICIENTS) this.frames.push(frames.subarray(i, i + COEFFICIENTS));
  }

  // Another configuration of the mixer, for all frames, or gliding from the next one on.
  mix(config, gliding = false) {
    this.config = config;
    if (gliding) this.mixer.change(config);
    else {
      this.mixer = new Mixer(this.table, config); this.frames = [];
      for (const frames of this.made) this.show(this.mixer.push(frames));
    }
    this.rest();
  }

  rest() { this.still = new Mixer(this.table, this.config).push(new Float32Array(COEFFICIENTS)); } // before there are frames

  // Coefficients at a time in seconds, between two frames.
  at(t) {
    const { frames } = this, out = new Float32Array(COEFFICIENTS);
    if (!frames.length) return this.still;
    const place = Math.min(Math.max(t * FPS, 0), frames.length - 1), k = Math.floor(place), part = place - k;
    const next = frames[Math.min(k + 1, frames.length - 1)];
    for (let i = 0; i < COEFFICIENTS; i++) out[i] = frames[k][i] * (1 - part) + next[i] * part;
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
    [known.tongueOut, known.tongueUp] = this.tongue(now, jaw, known.mouthClose);
    return this.rig.targets.map((name) => known[name] || 0);
  }

  tongue(now, jaw, close) { // as utils/heads/tongue.py: shut teeth hold it back, and on its way out it rises first
    const { open, shut, free, lifts_first: lifts } = this.rig.tongue, [out, up] = Array.from(now.subarray(TONGUE), (x) => clip(x));
    const passed = out * clip((jaw - open * close - shut) / (free - shut));
    return [passed, Math.max(up, Math.min(lifts * passed, 1))];
  }

  travelled(joint) { // where a joint stands in this expression
    return this.rig.joints[joint].map((x, axis) => this.rig.steps[joint][axis].reduce((at, s, i) => at + s * this.now[i], x));
  }
}
