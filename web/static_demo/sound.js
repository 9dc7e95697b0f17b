// Sound files -> mono samples at 16 kHz. `resample` and the readers of headers have no DOM.

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

// Band-limited interpolation with a Kaiser-windowed sinc.
export function resample(samples, from, to = RATE) {
  if (from === to) return samples;
  const cut = 0.95 * Math.min(1, to / from), reach = TAPS / cut, fine = 512, top = bessel(KAISER);
  const table = Float64Array.from({ length: TAPS * fine + 2 }, (_, i) => { // by distance in zero crossings
    const x = i / fine, inside = 1 - (x / TAPS) ** 2;
    return inside <= 0 ? 0 : (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1) * bessel(KAISER * Math.sqrt(inside)) / top;
  });
  const out = new Float32Array(Math.floor(samples.length * to / from));
  for (let i = 0; i < out.length; i++) {
    const place = i * from / to, first = Math.max(Math.ceil(place - reach), 0);
    let sum = 0;
    for (let k = first; k <= Math.min(place + reach, samples.length - 1); k++) {
      const x = Math.abs(k - place) * cut * fine, j = Math.floor(x);
      sum += samples[k] * (table[j] + (x - j) * (table[j + 1] - table[j]));
    }
    out[i] = sum * cut;
  }
  return out;
}

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
