// Runs the page's own modules in Node: node static_demo.mjs FOLDER TASK WORK; float32 files in WORK go in and out.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';

const [folder, task, work] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.resolve(folder, name)));
const packed = (name) => gunzipSync(fs.readFileSync(path.join(folder, `${name}.gz`)));
const json = (name) => JSON.parse(fs.readFileSync(path.join(folder, name)));
const asked = JSON.parse(fs.readFileSync(path.join(work, 'asked.json')));
const floats = (name) => { const b = fs.readFileSync(path.join(work, name)); return new Float32Array(b.buffer, b.byteOffset, b.length / 4); };
const write = (name, values) => fs.writeFileSync(path.join(work, name), new Uint8Array(values.buffer, values.byteOffset, values.byteLength));

async function talker() { // with onnxruntime-web, as the worker makes it
  const ort = await load('ort/ort.wasm.min.mjs'), { Talker, runner } = await load('talker.js'), about = json('talker.json');
  ort.env.wasm.numThreads = 1; ort.env.wasm.wasmBinary = packed('ort/ort-wasm-simd-threaded.wasm');
  const run = {};
  for (const name of ['audio', 'window']) {
    const graph = packed(about.graphs[name].variants.w16.file);
    run[name] = runner(ort, await ort.InferenceSession.create(graph, { executionProviders: ['wasm'] }), about.graphs[name]);
  }
  return new Talker(about, run);
}

const noise = (k, n = 5400) => floats('noise').slice(n * k, n * (k + 1));

async function speak() {
  const made = [];
  for await (const frames of (await talker()).speak(floats('audio'), { style: asked.style, noise })) made.push(...frames);
  write('made', Float32Array.from(made));
}

async function live() { // in blocks of an odd size; each piece hears only what it needs, as in Python
  const { LiveTalker } = await load('live.js'), one = new LiveTalker(await talker(), { style: asked.style, noise });
  const audio = floats('audio'), made = [];
  for (let k = 0; k < audio.length;) {
    const block = audio.slice(k, k + Math.min(one.missing, 777));
    one.hear(block); k += block.length;
    while (one.waiting) made.push(...await one.next());
  }
  one.ended = true;
  while (one.waiting) made.push(...await one.next());
  write('made', Float32Array.from(made));
}

async function pose() {
  const { LiveHead } = await load('live_head.js'), { readGlb } = await load('head.js'), glb = packed('head.glb');
  const buffer = glb.buffer.slice(glb.byteOffset, glb.byteOffset + glb.length);
  const head = new LiveHead(readGlb(buffer), json('rig.json'), json('mixer.json'));
  head.push(floats('coefficients'));
  const places = asked.times.map((t) => { head.pose(t); return [...head.moved]; });
  write('made', Float32Array.from(places.flat()));
}

async function mix() { // asked.stages: configurations, a schedule's text among them, and the frames that each gets
  const { Mixer } = await load('mixer.js'), { readSchedule } = await load('schedule.js'), table = json('mixer.json');
  const mixer = new Mixer(table), frames = floats('coefficients'), made = [];
  let first = 0;
  for (const { config, schedule, n } of asked.stages) {
    const whole = { ...config, curves: schedule ? readSchedule('a.csv', schedule, table) : {} };
    if (first) mixer.change(whole); else mixer.use(whole);
    for (const end = first + n; first < end; first += 7) {
      made.push(...mixer.push(frames.slice(mixer.size * first, mixer.size * Math.min(first + 7, end))));
    }
    first = made.length / mixer.size;
  }
  write('made', Float32Array.from(made));
}

async function schedules() { // what is said of each file
  const { readSchedule } = await load('schedule.js'), table = json('mixer.json');
  const said = asked.files.map(([name, text]) => {
    try { return readSchedule(name, text, table); } catch (error) { return error.message; }
  });
  fs.writeFileSync(path.join(work, 'said.json'), JSON.stringify(said));
  write('made', new Float32Array(1));
}

async function sound() {
  const { Resampler, resample, rateOf } = await load('sound.js'), { gaussian } = await load('talker.js'), audio = floats('audio');
  const whole = resample(audio, asked.rate), stream = new Resampler(asked.rate), pieces = [];
  for (let k = 0; k < audio.length; k += 1001) pieces.push(...stream.push(audio.slice(k, k + 1001), k + 1001 >= audio.length));
  if (pieces.length !== whole.length || pieces.some((x, i) => Math.abs(x - whole[i]) > 1e-6)) throw new Error('pieces differ');
  write('made', whole);
  write('noise', gaussian(asked.seed)(asked.count));
  fs.writeFileSync(path.join(work, 'rates.json'), JSON.stringify(asked.files.map((name) => rateOf(new Uint8Array(fs.readFileSync(name))))));
}

await { speak, live, pose, mix, schedules, sound }[task]();
