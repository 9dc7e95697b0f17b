// Speech -> coefficients with the exported graphs, as setup/onnx_export/player.py does it. No DOM: runs in workers and Node.

const JAW = 53, HEAD = 50, EXP = 50; // columns of the motion: expressions, 3 of the head's rotation, 1 of the jaw's
const TONGUE = 56; // column of a frame's coefficients
export const COEFFICIENTS = 58; // of a frame: 50 expressions, rotation vectors of head and jaw, tongue out and up

// A graph of talker.json as a function: { name: Float32Array } -> { output: Float32Array }.
export function runner({ Tensor }, session, { inputs, outputs }) {
  return async (given) => {
    const feeds = Object.entries(given).map(([name, values]) => { // an axis of any size takes what the others leave
      const known = inputs[name].reduce((size, axis) => size * (Number(axis) || 1), 1);
      return [name, new Tensor('float32', values, inputs[name].map((axis) => Number(axis) || values.length / known))];
    });
    const made = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(outputs.map((name) => [name, made[name].data]));
  };
}

export class Talker {
  // about: talker.json; run: { audio, window }, see `runner`.
  constructor(about, run) {
    this.about = about; this.run = run;
    this.unit = about.sample_rate / about.fps; // samples of a frame
  }

  frames(audio) { return Math.floor(audio.length / this.unit); }

  // Samples -> whole windows with silence around them, without offset, speech at the encoder's level.
  levelled(audio) {
    const { about } = this, step = about.n_motions * this.unit, around = about.surroundings;
    const whole = Math.max(1, Math.ceil(this.frames(audio) / about.n_motions)) * step, n = Math.min(audio.length, whole);
    const mean = audio.reduce((sum, x) => sum + x, 0) / audio.length, power = [];
    for (let first = 0; first < n; first += about.level_block) {
      let sum = 0;
      for (let i = first; i < Math.min(first + about.level_block, n); i++) sum += (audio[i] - mean) ** 2;
      power.push(sum / about.level_block);
    }
    const loudest = power.reduce((a, b) => Math.max(a, b), 0);
    const spoken = power.filter((p) => p >= 0.01 * loudest); // blocks within 20 dB of the loudest
    const rms = Math.sqrt(spoken.reduce((a, b) => a + b, 0) / spoken.length);
    const factor = about.level / Math.max(rms, 1e-8), out = new Float32Array(whole + 2 * around);
    for (let i = 0; i < n; i++) out[around + i] = (audio[i] - mean) * factor;
    return out;
  }

  // The `person` input of the average head.
  person(style, scales = {}) {
    const { person, styles, guidance } = this.about;
    const out = new Float32Array(Math.max(...Object.values(person).map(([, end]) => end)));
    out.set(styles[style], person.style[0]);
    out.set(Object.values({ ...guidance.scales, ...scales }), person.scales[0]);
    return out;
  }

  // Raw coefficients of each window, (frames * COEFFICIENTS), as soon as they are known. noise(k): normal numbers.
  async* speak(audio, { style, scales, noise }) {
    const { about, run } = this, n = about.n_motions, wide = about.motion_dim, frames = this.frames(audio);
    const samples = this.levelled(audio), step = n * this.unit, person = this.person(style, scales);
    let motion = Float32Array.from(about.start.motion.flat()), heard = Float32Array.from(about.start.audio.flat());
    for (let k = 0; k * n < frames; k++) {
      const { features, tongue } = await run.audio({ audio: samples.slice(k * step, (k + 1) * step + 2 * about.surroundings) });
      const valid = Math.min(n, frames - k * n), indicator = new Float32Array(n).fill(1, 0, valid);
      const made = (await run.window({ noise: noise(k), prev_motion: motion, prev_audio: heard, audio: features, person,
        indicator })).motion;
      motion = made.slice(-motion.length); heard = features.slice(-heard.length);
      yield this.coefficients(made.subarray(0, valid * wide), tongue);
    }
  }

  coefficients(motion, tongue) {
    const { statistics, motion_dim: wide } = this.about, n = motion.length / wide, { exp, pose } = statistics;
    const out = new Float32Array(n * COEFFICIENTS);
    for (let i = 0; i < n; i++) {
      const from = motion.subarray(i * wide, (i + 1) * wide), to = out.subarray(i * COEFFICIENTS);
      for (let j = 0; j < EXP; j++) to[j] = exp.mean[j] + exp.scale[j] * from[j];
      for (let j = 0; j < 3; j++) to[EXP + j] = pose.mean[j] + pose.scale[j] * from[HEAD + j];
      to[EXP + 3] = pose.mean[3] + pose.scale[3] * from[JAW];
      for (let j = 4; j < 6; j++) to[EXP + j] = pose.mean[j];
      to.set(tongue.subarray(2 * i, 2 * i + 2), TONGUE);
    }
    return out;
  }
}

// Standard normal numbers of a seed: the same take again for the same number.
export function gaussian(seed) {
  let state = seed >>> 0;
  const uniform = () => { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  return (n) => Float32Array.from({ length: n },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
}
