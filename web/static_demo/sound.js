// Sound files -> mono samples at 16 kHz. All but `decode` runs without a page.

const RATE = 16000, TAPS = 48, KAISER = 10; // zero crossings on each side; beta: 100 dB
const QUIET = 1e-4, LONGEST = 600; // largest sample of silence; seconds

// The rate of a wav or flac file, so that the browser need not resample it; null for other files.
export function rateOf(bytes) {
  const text = String.fromCharCode(...bytes.subarray(0, 16)), view = new DataView(bytes.buffer, bytes.byteOffset);
  if (bytes.length > 44 && text.startsWith('RIFF') && text.startsWith('WAVEfmt ', 8)) return view.getUint32(24, true);
  if (bytes.length > 42 && text.startsWith('fLaC')) return view.getUint32(18) >>> 12;
  return null;
}

function bessel(x) { // I_0
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) { term *= (x / (2 * k)) ** 2; sum += term; }
  return sum;
}

// Band-limited interpolation with a Kaiser-windowed sinc, of sound in pieces of any size.
export class Resampler {
  constructor(from, to = RATE) {
    const fine = 512, top = bessel(KAISER);
    Object.assign(this, { from, to, fine, cut: 0.95 * Math.min(1, to / from), kept: new Float32Array(0), begin: 0, made: 0 });
    this.table = Float64Array.from({ length: TAPS * fine + 2 }, (_, i) => { // by distance in zero crossings
      const x = i / fine, inside = 1 - (x / TAPS) ** 2;
      return inside <= 0 ? 0 : (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1) * bessel(KAISER * Math.sqrt(inside)) / top;
    });
  }

  // The next samples, as far as they are known; all of them if these were the last.
  push(block, last = false) {
    const { from, to, cut } = this, samples = new Float32Array(this.kept.length + block.length), reach = TAPS / cut;
    samples.set(this.kept); samples.set(block, this.kept.length);
    const end = this.begin + samples.length, known = last ? end * to / from : Math.max((end - reach) * to / from, 0);
    const out = new Float32Array(Math.max(Math.floor(known) - this.made, 0));
    for (let i = 0; i < out.length; i++) out[i] = this.at(samples, (this.made + i) * from / to - this.begin, reach);
    this.made += out.length;
    const keep = Math.max(Math.floor(this.made * from / to - reach) - this.begin, 0);
    this.kept = samples.slice(keep); this.begin += keep;
    return out;
  }

  at(samples, place, reach) {
    const { table, fine, cut } = this;
    let sum = 0;
    for (let k = Math.max(Math.ceil(place - reach), 0); k <= Math.min(place + reach, samples.length - 1); k++) {
      const x = Math.abs(k - place) * cut * fine, j = Math.floor(x);
      sum += samples[k] * (table[j] + (x - j) * (table[j + 1] - table[j]));
    }
    return sum * cut;
  }
}

export const resample = (samples, from, to = RATE) => (from === to ? samples : new Resampler(from, to).push(samples, true));

// A file -> { samples at 16 kHz, wav to play }.
export async function decode(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer()), rate = rateOf(bytes) || 48000;
  let buffer;
  try {
    const context = new OfflineAudioContext(1, 1, Math.min(Math.max(rate, 8000), 96000));
    buffer = await context.decodeAudioData(bytes.buffer);
  } catch {
    throw new Error('This browser cannot read sound from that file; give wav, mp3, m4a, ogg or flac.');
  }
  if (buffer.duration > LONGEST) throw new Error(`The sound is too long: ${LONGEST / 60} minutes at most; cut it.`);
  const mono = new Float32Array(buffer.length);
  for (let c = 0; c < buffer.numberOfChannels; c++) {
    buffer.getChannelData(c).forEach((x, i) => { mono[i] += x / buffer.numberOfChannels; });
  }
  const samples = resample(mono, buffer.sampleRate), loudest = samples.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
  if (!(loudest < Infinity)) throw new Error('The sound holds numbers that are not finite; export it again.');
  if (samples.length < 640 || loudest < QUIET) throw new Error('The sound is empty or silent; record it again.');
  return { samples, wav: wav(mono, buffer.sampleRate) };
}

function wav(samples, rate) { // 16 bit
  const out = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => out.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF'); out.setUint32(4, 36 + 2 * samples.length, true); text(8, 'WAVEfmt ');
  out.setUint32(16, 16, true); out.setUint16(20, 1, true); out.setUint16(22, 1, true); out.setUint32(24, rate, true);
  out.setUint32(28, 2 * rate, true); out.setUint16(32, 2, true); out.setUint16(34, 16, true);
  text(36, 'data'); out.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => out.setInt16(44 + 2 * i, Math.round(32767 * Math.min(Math.max(x, -1), 1)), true));
  return new Blob([out], { type: 'audio/wav' });
}
