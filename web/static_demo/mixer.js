// The mixer between model and head: models/mixing/mixer.py and face.py, with their numbers from mixer.json. No DOM.
// A configuration: { values: { happy: 0.6, 'gain.brows': 1.5 }, curves: { sad: [[seconds, value], ...] },
// smooth: { head: 0.2 }, mirror: ['gaze'] }; every part may be left out.

import { product, quaternion, rotated, vector } from './rotation.js';

export const clip = (x, low = 0, high = 1) => Math.min(Math.max(x, low), high);
export const rest = (name) => (name.startsWith('gain.') ? 1 : 0);

function along(points, t) { // linear between the points, constant before and after
  let k = points.findIndex(([seconds]) => seconds > t);
  if (k <= 0) return points[k < 0 ? points.length - 1 : 0][1];
  const [[before, low], [after, high]] = points.slice(k - 1, k + 1);
  return low + (t - before) / (after - before) * (high - low);
}

export class Mixer {
  // table: mixer.json
  constructor(table, config = {}) {
    const n = table.names.length;
    Object.assign(this, { table, n, head: n, jaw: n + 3, tongue: n + 6, size: n + 8, frame: 0, before: {}, changed: null,
      states: {} });
    this.parts = { head: [n, n + 1, n + 2], mouth: [n + 3, n + 4, n + 5], tongue: [n + 6, n + 7] };
    this.use(config);
  }

  use({ values = {}, curves = {}, smooth = {}, mirror = [] }) {
    this.config = { values, curves, smooth, mirror };
    for (const group of Object.keys(this.states)) if (!smooth[group]) delete this.states[group];
  }

  // Glide to another configuration; mirrored groups and smoothing change at once.
  change(config) {
    const before = this.values();
    this.use(config);
    Object.assign(this, { before, changed: this.frame });
  }

  // The next frames (n * size: units, rotation vectors of head and jaw, tongue), changed.
  push(frames) {
    const out = new Float32Array(frames.length);
    for (let i = 0; i < frames.length; i += this.size, this.frame++) {
      out.set(this.mixed(Float64Array.from(frames.subarray(i, i + this.size)), this.values()), i);
    }
    return out;
  }

  values() { // by name, of the next frame
    const { frame, before, changed, config, table: { fps, glide } } = this, found = { ...config.values };
    for (const [name, points] of Object.entries(config.curves)) found[name] = along(points, frame / fps);
    if (changed === null) return found;
    const share = clip((frame - changed + 1) / (glide * fps));
    for (const name of Object.keys({ ...before, ...found })) {
      const old = before[name] ?? rest(name);
      found[name] = old + share * ((found[name] ?? rest(name)) - old);
    }
    return found;
  }

  mixed(x, values) {
    const { head, tongue, config, table } = this, before = x.slice();
    for (const group of config.mirror) {
      for (const k of table.groups[group]) x[k] = before[table.other_side[k]];
      for (const k of (this.parts[group] || []).slice(1)) x[k] *= -1;
    }
    for (const [group, seconds] of Object.entries(config.smooth)) if (seconds) this.smooth(x, group, seconds);
    for (let k = head; k < head + 3; k++) x[k] *= values['gain.head'] ?? 1;
    const angles = table.head_offsets.map((name) => (values[`offset.${name}`] || 0) * Math.PI / 180);
    if (angles.some(Boolean)) {
      const [pitch, yaw, roll] = [[angles[0], 0, 0], [0, angles[1], 0], [0, 0, angles[2]]].map(quaternion);
      x.set(vector(product(product(yaw, product(pitch, roll)), quaternion(x.subarray(head, head + 3)))), head);
    }
    this.face(x, values);
    for (let k = tongue; k < tongue + 2; k++) x[k] = clip(x[k] * (values['gain.tongue'] ?? 1));
    return x;
  }

  smooth(x, group, seconds) { // exponentially; the state goes from piece to piece
    const columns = [...this.table.groups[group], ...(this.parts[group] || [])];
    const kept = Math.exp(-1 / (seconds * this.table.fps)), state = this.states[group] ||= columns.map((k) => x[k]);
    columns.forEach((k, i) => { x[k] = state[i] = kept * state[i] + (1 - kept) * x[k]; });
  }

  face(x, values) {
    const { n, jaw, table } = this, { lips, close } = table, before = x.slice(0, n), opening = values['gain.mouth'] ?? 1;
    this.gain(x, values);
    const added = this.added(x, values);
    for (let k = 0; k < n; k++) x[k] += added[k] * clip(added[k] > 0 ? 1 - x[k] : x[k]);
    const change = lips.reduce((total, lip, k) => total + lip * (x[k] - opening * before[k]), 0);
    x[close] -= change / lips[close];
    table.names.forEach((name, k) => { x[k] += values[`offset.${name}`] || 0; });
    x[jaw] += table.jaw.radians * (values[`offset.${table.jaw.offset}`] || 0);
    for (let k = 0; k < n; k++) if (k !== close) x[k] = clip(x[k], Math.min(before[k], 0), Math.max(before[k], 1));
    if (values[table.eye_contact]) this.look(x, values[table.eye_contact]);
  }

  gain(x, values) {
    const { jaw, table: { groups, calm } } = this;
    for (const [group, columns] of Object.entries(groups)) for (const k of columns) x[k] *= values[`gain.${group}`] ?? 1;
    for (let k = jaw; k < jaw + 3; k++) x[k] *= values['gain.mouth'] ?? 1;
    for (const k of calm.columns) x[k] *= 1 - calm.share * (values.neutral || 0);
  }

  added(x, values) { // by emotions and named offsets; eyes still shut, and lips still purse
    const { table } = this, added = new Float64Array(this.n);
    const recipes = Object.entries(table.emotions).map(([name, more]) => [values[name], more, []]);
    for (const [name, [more, less]] of Object.entries(table.offsets)) recipes.push([values[`offset.${name}`], more, less]);
    for (const [value, more, less] of recipes) {
      if (value) (value > 0 ? more : less).forEach((weight, k) => { added[k] += Math.abs(value) * weight; });
    }
    const pursed = clip(table.pursed.reduce((total, k) => total + x[k], 0));
    for (const k of table.corners.columns) added[k] *= 1 - table.corners.share * pursed;
    for (const [blink, ...lids] of table.lids) for (const k of lids) added[k] *= 1 - clip(x[blink]);
    return added;
  }

  look(x, share) { // turns the eyes to the camera, which is in front of the body
    const turn = x.subarray(this.head, this.head + 3), [right, up, front] = rotated([...turn].map((v) => -v), [0, 0, 1]);
    const wanted = [Math.atan2(right, front), -Math.asin(clip(up, -1))];
    for (const [k, axis, angle] of this.table.gaze) x[k] += share * (clip(wanted[axis] / angle) - x[k]);
  }
}
