// Live speech -> coefficients, one hop at a time, as models/generation/live.py does it (docs/live.md).

const HOP = 5, AHEAD = 1; // frames: of a piece, of audio to wait for beyond it
const SHORT = 25, HEARD = 50, REST = 10; // frames: that the network sees, that the encoder hears; of those, after the piece
const QUIET = 0.005; // the voice counts as at least this loud, so that noise before the first word is not amplified

// Mean and speech level of the audio so far, from sums of blocks.
class Level {
  constructor(block) { Object.assign(this, { block, blocks: [[0, 0, 0]], count: 0, total: 0 }); }

  push(samples) {
    let last = this.blocks[this.blocks.length - 1];
    for (const x of samples) {
      if (last[2] === this.block) this.blocks.push(last = [0, 0, 0]);
      last[0] += x; last[1] += x * x; last[2]++; this.total += x;
    }
    this.count += samples.length;
  }

  get mean() { return this.total / Math.max(1, this.count); }

  get rms() {
    const { mean, block } = this;
    const power = this.blocks.map(([sum, squares, n]) => Math.max(squares - 2 * mean * sum + n * mean * mean, 0) / block);
    const loudest = power.reduce((a, b) => Math.max(a, b), 0), spoken = power.filter((p) => p >= 0.01 * loudest);
    return Math.sqrt(spoken.reduce((a, b) => a + b, 0) / spoken.length);
  }
}

export class LiveTalker {
  // talker: a Talker; noise(k, n): n normal numbers of piece k; catchUp: several waiting hops become one piece.
  constructor(talker, { style, scales, noise, catchUp }) {
    const { about, unit } = talker;
    Object.assign(this, { talker, about, unit, noise, catchUp, ended: false, done: 0, pieces: 0, samples: 0 });
    this.person = talker.person(style, scales);
    this.level = new Level(about.level_block);
    this.audio = new Float32Array(0); this.begin = 0; // what is kept, and the number of its first frame
    this.motion = Float32Array.from(about.start.motion.flat()); this.heard = Float32Array.from(about.start.audio.flat());
    this.expected = new Float32Array(0); // frames of the next piece that the last one has already made
  }

  hear(block) {
    this.level.push(block); this.samples += block.length; this.audio = joined(this.audio, block);
  }

  get missing() { return (this.done + HOP + AHEAD) * this.unit - this.samples; } // samples until the next piece

  get waiting() { // frames of the next piece; 0: it needs more audio
    const left = Math.floor(this.samples / this.unit) - this.done, whole = this.about.n_motions;
    if (this.ended) return Math.min(left, HOP + AHEAD, whole);
    if (left < HOP + AHEAD) return 0;
    const most = left > HEARD ? whole : SHORT - AHEAD; // short windows are soon done, whole ones are cheaper per frame
    return this.catchUp ? Math.min(most, Math.floor((left - AHEAD) / HOP) * HOP) : HOP;
  }

  // Raw coefficients of the next piece.
  async next() {
    const { about, unit, talker } = this, { n_motions: whole, motion_dim: wide, feature_dim: deep } = about;
    const n = this.waiting, valid = n + Math.min(AHEAD, Math.floor(this.samples / unit) - this.done - n, whole - n);
    let length = SHORT;
    while (length < valid) length *= 2;
    length = Math.min(length, whole);
    const window = valid + REST > HEARD ? whole : HEARD, now = this.done - this.begin;
    const first = Math.max(0, now - (window === whole ? Math.floor((window - n) / 2) : window - n - REST));
    const { features, tongue } = await talker.run.audio({ audio: this.around(first, window) });
    const heard = new Float32Array(length * deep), last = features.slice(-deep);
    for (let i = 0; i < length; i++) { // filled up with the window's last frame
      const k = now - first + i;
      heard.set(k < window ? features.subarray(k * deep, (k + 1) * deep) : last, i * deep);
    }
    const indicator = new Float32Array(length).fill(1, 0, valid), noise = this.noise(this.pieces++, length * wide);
    const made = (await talker.run.window({ noise, prev_motion: this.motion, prev_audio: this.heard, audio: heard,
      person: this.person, indicator })).motion.slice(0, valid * wide);
    fade(this.expected, made, wide);
    const motion = made.slice(0, n * wide);
    this.expected = made.slice(n * wide);
    this.motion = joined(this.motion, motion).slice(-this.motion.length);
    this.heard = joined(this.heard, heard.slice(0, n * deep)).slice(-this.heard.length);
    this.forget(n);
    return talker.coefficients(motion, tongue.subarray(2 * (now - first)));
  }

  around(first, window) { // levelled samples of the encoder's window from a kept frame on; silence where there are none
    const { about, unit, audio, level } = this, start = first * unit - about.surroundings, { mean } = level;
    const factor = about.level / Math.max(level.rms, QUIET), out = new Float32Array(window * unit + 2 * about.surroundings);
    for (let i = Math.max(0, -start); i < Math.min(out.length, audio.length - start); i++) out[i] = (audio[start + i] - mean) * factor;
    return out;
  }

  forget(n) {
    this.done += n;
    const margin = Math.ceil(this.about.surroundings / this.unit);
    const keep = Math.max(this.begin, this.done - this.about.n_motions - margin);
    this.audio = this.audio.slice((keep - this.begin) * this.unit); this.begin = keep;
  }
}

function joined(a, b) { const out = new Float32Array(a.length + b.length); out.set(a); out.set(b, a.length); return out; }

function fade(old, made, wide) { // from old frames to those that were made of the same time, in place
  const k = Math.min(old.length, made.length) / wide;
  for (let i = 0; i < k * wide; i++) {
    const x = (Math.floor(i / wide) + 1) / (k + 1);
    made[i] = old[i] + x * x * (3 - 2 * x) * (made[i] - old[i]);
  }
}
