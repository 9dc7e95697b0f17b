// Loads onnxruntime-web and the graphs, and turns speech into coefficients, off the page's own thread.
// In: { kind: 'load', webgpu }; { kind: 'speak', id, audio, style, scales, seed or noise }; for live speech
// { kind: 'live', id, rate, style, scales, seed }, then { kind: 'hear', id, audio } and { kind: 'end', id }.
// Out: { loaded, total } while loading, { ready: seconds }, { id, frames }, { id, done: seconds }, { error }.

import { download, here } from './files.js';
import { LiveTalker } from './live.js';
import { Resampler } from './sound.js';
import { Talker, gaussian, runner } from './talker.js';

const RUNTIMES = { // module, its loader and its WebAssembly
  wasm: ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'],
  webgpu: ['ort.webgpu.min.mjs', 'ort-wasm-simd-threaded.asyncify.mjs', 'ort-wasm-simd-threaded.asyncify.wasm'],
};
let talker = null, live = null, current = 0, queue = Promise.resolve(), following = false;

async function load({ webgpu }) {
  const began = performance.now(), provider = webgpu ? 'webgpu' : 'wasm', [module, loader, wasm] = RUNTIMES[provider];
  const { sizes, ...about } = await (await fetch(here('talker.json'))).json(), graphs = ['audio', 'window'];
  const files = graphs.map((name) => about.graphs[name].variants.w16.file);
  const total = [`ort/${wasm}`, ...files].reduce((sum, name) => sum + sizes[`${name}.gz`], 0);
  let loaded = 0;
  const received = (n) => { loaded += n; postMessage({ loaded, total }); };
  const [ort, binary, ...models] = await Promise.all([import(here(`ort/${module}`)),
    ...[`ort/${wasm}`, ...files].map((name) => download(name, received))]);
  Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: binary, wasmPaths: { mjs: here(`ort/${loader}`) } });
  const run = {};
  for (const [i, name] of graphs.entries()) {
    const session = await ort.InferenceSession.create(new Uint8Array(models[i]), { executionProviders: [provider] });
    run[name] = runner(ort, session, about.graphs[name]);
  }
  talker = new Talker(about, run);
  await speak({ id: 0, audio: new Float32Array(16000).fill(0.01), style: about.default_style, seed: 0 }); // warms up
  postMessage({ ready: (performance.now() - began) / 1000 });
}

async function speak({ id, audio, style, scales, seed, noise }) {
  const began = performance.now(), size = talker.about.n_motions * talker.about.motion_dim;
  const given = (k) => noise.slice(k * size, (k + 1) * size);
  for await (const frames of talker.speak(audio, { style, scales, noise: noise ? given : drawn(seed) })) {
    if (id !== current) return; // the visitor wants something else by now
    if (id) postMessage({ id, frames }, [frames.buffer]);
  }
  if (id) postMessage({ id, done: (performance.now() - began) / 1000 });
}

function drawn(seed) {
  const draw = gaussian(seed || 0), whole = talker.about.n_motions * talker.about.motion_dim;
  return (k, size = whole) => draw(size);
}

function listen({ id, rate, style, scales, seed }) {
  const hears = new Resampler(rate);
  live = Object.assign(new LiveTalker(talker, { style, scales, noise: drawn(seed), catchUp: true }), { id, hears });
}

const breath = () => new Promise((resolve) => { setTimeout(resolve); }); // until the messages that wait have been read

async function follow() { // makes what can be made by now; all that has been heard becomes one piece
  try {
    for (await breath(); live && live.id === current && live.waiting; await breath()) {
      const { id } = live, began = performance.now(), frames = await live.next();
      postMessage({ id, frames, took: (performance.now() - began) / 1000 }, [frames.buffer]);
    }
  } finally { following = false; }
}

function enqueue(work) {
  queue = queue.then(work).catch((error) => postMessage({ error: error.message || String(error) }));
}

onmessage = ({ data }) => {
  if (data.id) current = data.id;
  if (data.kind === 'live') listen(data);
  if (data.kind === 'hear' && live) live.hear(live.hears.push(data.audio));
  if (data.kind === 'end' && live) live.ended = true;
  if (data.kind === 'load') enqueue(() => load(data));
  else if (data.kind === 'speak') enqueue(() => speak(data));
  else if (!following) { following = true; enqueue(follow); }
};
