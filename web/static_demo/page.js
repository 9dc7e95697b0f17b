// The page: what the visitor chooses, the worker that computes, and the head that moves with the sound's clock.

import { Desk, word } from './desk.js';
import { download } from './files.js';
import { readGlb } from './head.js';
import { LiveHead } from './live_head.js';
import { NO_MICROPHONE, REFUSED, recorder } from './recorder.js';
import { decode } from './sound.js';
import { View, backdrop, load, loadStage } from './viewer.js';

const LONGEST = 120, dark = matchMedia('(prefers-color-scheme: dark)'); // seconds of a recording
const SPARE = 0.04; // seconds that live frames may wait before they are shown
const at = (id) => document.getElementById(id), canvas = at('view'), sound = at('sound');
const webgpu = new URLSearchParams(location.search).has('webgpu');
const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
let chosen = null, id = 0, pressed = 0, ready = false, seen = false, failed = false, head = null, live = null, mixed = true;
const measured = window.measured = {}; // seconds, for tests

function say(text, wrong = false) { at('said').textContent = text; at('said').className = wrong ? 'wrong' : ''; }

function fail(text) { failed = true; say(text, true); } // for good: what was said stays

// The buttons work when the talker is ready and the head is there.
function begin() {
  if (!ready || !seen || failed) return;
  at('make').disabled = !chosen; at('live').disabled = false;
  say(chosen ? 'Press the button.' : 'Choose a file, record something, take the example, or speak live.');
}

function choose(blob, name) {
  sound.pause();
  return decode(blob).then((found) => {
    chosen = found; at('chosen').textContent = `${name}, ${(found.samples.length / 16000).toFixed(1)} s`;
    if (ready && seen) begin(); else if (!failed) say('Loading …');
  }).catch((error) => say(error.message, true));
}

// The microphone as a stream; it is asked for only when a button is pressed.
async function microphone() {
  if (!navigator.mediaDevices) throw new Error(NO_MICROPHONE);
  return navigator.mediaDevices.getUserMedia({ audio: true });
}

function wish() {
  return { style: at('style').value, seed: Number(at('take').value), scales: { style: Number(at('strength').value) } };
}

// The head follows the microphone until the button is pressed again.
async function follow() {
  const stream = await microphone(), context = new AudioContext();
  const silence = () => { stream.getTracks().forEach((track) => track.stop()); context.close(); };
  await context.audioWorklet.addModule('ear.js').catch((error) => { silence(); throw error; });
  const ear = new AudioWorkletNode(context, 'ear'), mine = ++id;
  sound.pause(); head.clear(); live = { shown: 0, last: performance.now(), heard: 0, rate: 1 };
  measured.live = [];
  worker.postMessage({ kind: 'live', id: mine, rate: context.sampleRate, ...wish() });
  ear.port.onmessage = ({ data }) => {
    if (mine !== id) { stop(); return; }
    live.heard += data.length / context.sampleRate;
    worker.postMessage({ kind: 'hear', id: mine, audio: data }, [data.buffer]);
  };
  const stop = () => {
    ear.port.onmessage = null; silence();
    if (mine === id) { worker.postMessage({ kind: 'end', id: mine }); live.ended = true; say('Press a button.'); }
    at('live').textContent = 'Live'; at('live').onclick = following;
  };
  context.createMediaStreamSource(stream).connect(ear);
  at('live').textContent = 'Stop'; at('live').onclick = stop; say('Speak …');
}
const following = () => follow().catch((error) => say(REFUSED[error.name] || error.message, true));

// The time of day goes on up to the last frame; a little faster while frames wait longer than they must.
function liveTime() {
  const now = performance.now(), made = head.frames.length / 25;
  live.shown = Math.min(live.shown + live.rate * (now - live.last) / 1000, made); live.last = now;
  return live.shown;
}

function make() {
  pressed = performance.now(); id++; head.clear(); live = null;
  sound.pause(); URL.revokeObjectURL(sound.src);
  sound.src = URL.createObjectURL(chosen.wav); sound.hidden = false;
  say('Listening …'); delete measured.first; delete measured.made;
  worker.postMessage({ kind: 'speak', id, audio: chosen.samples, noise: window.noise, ...wish() });
}

function made({ frames, took }) {
  if (live) {
    const spare = head.frames.length / 25 - live.shown;
    live.rate = spare > SPARE ? 1 + Math.min(spare, 0.5) : 1;
    measured.live.push({ behind: live.heard - live.shown, took });
  }
  head.push(frames, Boolean(live));
  if (live || measured.first !== undefined) return;
  measured.first = (performance.now() - pressed) / 1000;
  sound.play().catch(() => say('Press play.'));
}

function finished(seconds) {
  const length = chosen.samples.length / 16000;
  Object.assign(measured, { made: seconds, speed: length / seconds });
  say(`${length.toFixed(1)} s of speech in ${seconds.toFixed(1)} s; the first motion came after ${measured.first.toFixed(1)} s.`);
}

worker.onerror = () => fail('This browser cannot run the talker: it needs module workers and WebAssembly SIMD.');
worker.onmessage = ({ data }) => {
  if (data.error) say(data.error, true);
  else if (data.total) at('progress').value = 0.9 * data.loaded / data.total;
  else if (data.ready) {
    ready = true; measured.ready = data.ready; at('progress').hidden = true; begin();
  } else if (data.id === id && data.frames) made(data);
  else if (data.id === id && data.done) finished(data.done);
};

async function main() {
  if (webgpu) {
    at('backend').textContent = 'the graphics card (WebGPU)';
    Object.assign(at('other'), { textContent: 'Use the processor', href: '.' });
    if (!navigator.gpu) throw new Error('This browser has no WebGPU; use the processor.');
  }
  worker.postMessage({ kind: 'load', webgpu });
  const [about, rig, table, shared, glb] = await Promise.all([load('talker.json', 'json'), load('rig.json', 'json'),
    load('mixer.json', 'json'), loadStage('stage.json', ''), download('head.glb')]);
  at('style').append(...Object.keys(about.styles).map((name) => new Option(word(name), name)));
  at('style').value = about.default_style; at('strength').value = about.guidance.scales.style;
  at('other').hidden = !('ort/ort.webgpu.min.mjs' in about.sizes);
  const view = new View(canvas, shared);
  head = new LiveHead(readGlb(glb), rig, table);
  await view.show(head);
  const paint = () => { canvas.style.background = backdrop(shared.stage, dark.matches ? 0.28 : 1); };
  paint(); dark.addEventListener('change', paint);
  const desk = new Desk(table, { changed: () => { mixed = false; }, wrong: (text) => say(text, true) });
  Object.assign(window, { view, head });
  const step = () => {
    if (!mixed) { head.mix(desk.config, Boolean(live) && !live.ended); mixed = true; view.drawn = ''; }
    view.draw(live ? liveTime() : sound.currentTime); requestAnimationFrame(step);
  };
  step();
  seen = true; begin();
}

at('file').onchange = () => { if (at('file').files[0]) choose(at('file').files[0], at('file').files[0].name); };
at('live').onclick = following;
recorder(at('record'), LONGEST, { said: say, done: (blob) => choose(blob, 'your recording') });
at('example').onclick = () => fetch('example.flac').then((a) => a.blob()).then((blob) => choose(blob, 'the example'));
at('form').onsubmit = (e) => { e.preventDefault(); make(); };
main().catch((error) => fail(error.message));
