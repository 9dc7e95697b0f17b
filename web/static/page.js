// The page: sends wishes, shows takes as they become ready. Takes live at #<token>, so that a reload finds them.

import { View, backdrop, load, loadStage } from './viewer.js';
import { recorder } from './recorder.js';

const $ = (selector) => document.querySelector(selector);
const form = $('#wish'), sound = $('#sound'), video = $('#video'), { welcome, seconds, upload: most } = document.body.dataset;
const figures = [...document.querySelectorAll('.head')], dark = matchMedia('(prefers-color-scheme: dark)');
const PAUSE = 150, EASE = 0.006; // ms before a preview; share of the remaining way that progress creeps on per frame
const page = { views: [], token: '', motion: null, shown: '', source: null, creeping: { at: 0, until: 0 } };
window.page = page; // for tests

// --- asking the server

async function ask(address, options) {
  const answer = await fetch(address, options).catch(() => {
    throw new Error('The server does not answer; is it still running?');
  });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || 'This is no longer here; make it again.');
}

const post = (address, values, signal) => ask(address, { method: 'POST', signal, body: JSON.stringify(values),
  headers: { 'Content-Type': 'application/json' } });

async function sendFile(blob, name) {
  if (blob.size > Number(most)) throw new Error(`${name} is larger than ${most / 1e6} MB; cut it or save it as mp3.`);
  const answer = await ask(`/api/uploads?name=${encodeURIComponent(name)}`, { method: 'POST', body: blob,
    headers: { 'Content-Type': 'application/octet-stream' } });
  return (await answer.json()).upload;
}

function told(error) {
  if (error.name === 'AbortError') return;
  const text = error.message;
  $('#error').textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

// Run something that may fail; its error is shown, the last one is taken away.
async function attempt(work) { $('#error').textContent = ''; try { await work(); } catch (error) { told(error); } }

// --- the visitor's wish

function headWish() {
  const values = Object.fromEntries(['identity', 'look', 'hair', 'skin'].map((name) => [name, form.elements[name].value]));
  for (const name of ['large', 'long', 'narrow']) values[name] = form.elements[name].valueAsNumber;
  return values;
}

function wish() {
  const values = { ...headWish(), audio: form.elements.audio.value, motion: page.motion };
  for (const name of ['style', 'emotion']) values[name] = form.elements[name].value;
  if ($('#compare').checked) values.other = form.elements.other.value;
  for (const name of ['scale_audio', 'scale_style', 'eye_contact', 'intensity', 'steps', 'seed']) values[name] = form.elements[name].valueAsNumber;
  return values;
}

async function useSpeech(blob, name) {
  $('#heard').textContent = `Sending ${name} …`;
  const radio = $('#mine input');
  try { radio.value = await sendFile(blob, name); } catch (error) { $('#heard').textContent = ''; throw error; }
  $('#mine span').textContent = name; $('#mine').hidden = false; radio.checked = true;
  $('#heard').textContent = `${name} will be used.`;
}

async function useMotion(file) {
  $('#moved').textContent = file ? `Sending ${file.name} …` : '';
  page.motion = null;
  if (file) page.motion = await sendFile(file, file.name);
  $('#moved').textContent = file ? `The style of ${file.name} will be used.` : '';
  $('#unmotion').hidden = !file; if (!file) $('#motion').value = '';
}

// --- showing a take

async function showHeads({ heads, token, labels }) {
  const glbs = await Promise.all(heads.map((name) => load(`/take/${token}/${name}?shown`, 'arrayBuffer')));
  $('#heads').classList.toggle('two', heads.length > 1);
  figures.forEach((figure, k) => {
    figure.hidden = k >= heads.length; figure.querySelector('figcaption').textContent = labels ? labels[k] : '';
  });
  await Promise.all(glbs.map((glb, k) => page.views[k].show(glb)));
  page.shown = token;
}

function see(view) {
  $('#heads').hidden = view !== 'heads'; sound.hidden = view !== 'heads'; video.hidden = view !== 'video';
  (view === 'video' ? sound : video).pause();
  document.querySelectorAll('[data-view]').forEach((b) => b.setAttribute('aria-pressed', b.dataset.view === view));
}

function size(bytes) { return bytes > 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`; }

function showDownloads(files, token) {
  const box = $('#downloads'), groups = new Map();
  for (const file of files) groups.set(file.group, [...(groups.get(file.group) || []), file]);
  box.replaceChildren(box.firstElementChild);
  for (const [group, members] of groups) {
    const list = document.createElement('ul');
    for (const file of members) {
      const item = document.createElement('li'), link = document.createElement('a');
      Object.assign(link, { href: `/take/${token}/${file.name}`, download: file.name, textContent: file.title });
      item.append(link, ` – ${file.purpose} (${size(file.bytes)})`); list.append(item);
    }
    const heading = Object.assign(document.createElement('h3'), { textContent: group });
    box.append(heading, list);
  }
  box.hidden = false;
}

const ordinal = (n) => `${n}${['th', 'st', 'nd', 'rd'][n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10] || 'th'}`;

function say(status) {
  const texts = { working: `${status.what.charAt(0).toUpperCase()}${status.what.slice(1)} …`,
    waiting: status.place ? `You are ${ordinal(status.place + 1)} in the queue.` : 'Starting …' };
  const text = texts[status.state] || '';
  if ($('#what').textContent !== text) $('#what').textContent = text; // spoken once, not ten times a second
  $('#work').hidden = !text;
  page.creeping.at = Math.max(page.creeping.at, status.share);
  page.creeping.until = status.state === 'working' ? Math.min(status.share + 0.25, 0.98) : 0.02;
}

async function update(status, stage) { // `stage`: what of this take is shown already
  say(status);
  if (status.ready.includes('head') && !stage.head) {
    stage.head = true;
    await attempt(() => showHeads(status));
    sound.src = `/take/${status.token}/take.wav?shown`; see('heads'); $('#views').hidden = status.token === welcome;
    if (stage.play) sound.play().catch(() => {}); // browsers may want a click first; the play button is there
    $('#stage').scrollIntoView({ block: 'start' });
  }
  if (status.ready.includes('video') && !stage.video) {
    stage.video = true;
    video.src = `/take/${status.token}/take.mp4?shown`; $('[data-view=video]').disabled = false;
  }
  if (status.files) {
    showDownloads(status.files, status.token);
    $('#said').textContent = 'Your take is ready. Its address works for an hour.';
  }
  if (status.state === 'failed') told(new Error(status.error));
  if (status.state === 'stopped') $('#said').textContent = 'Stopped.';
}

function follow(token, play) {
  const stage = { play }, source = page.source = new EventSource(`/api/takes/${token}/events`);
  $('[data-view=video]').disabled = true; $('#downloads').hidden = true; $('#said').textContent = '';
  page.token = token; page.creeping = { at: 0, until: 0.02 };
  source.onmessage = ({ data }) => {
    if (page.source !== source) return;
    const status = JSON.parse(data);
    if (!['waiting', 'working'].includes(status.state)) source.close();
    update(status, stage);
  };
  source.onerror = () => {
    if (page.source !== source || source.readyState !== EventSource.CLOSED) return; // else it tries again by itself
    $('#work').hidden = true; told(new Error('This take is no longer here; make it again.'));
    if (!page.views[0].head) greet();
  };
}

async function stop() {
  if (page.source) page.source.close();
  const { token } = page;
  page.source = null; $('#work').hidden = true;
  if (token !== welcome) await ask(`/api/takes/${token}`, { method: 'DELETE' }).catch(() => {});
}

async function make() {
  if (!$('#work').hidden) await stop(); // the last wish is taken back
  sound.pause(); video.pause();
  $('#what').textContent = 'Sending …'; $('#work').hidden = false; $('#said').textContent = '';
  $('#stage').scrollIntoView({ block: 'start' });
  try {
    const { token } = await (await post('/api/takes', wish())).json();
    history.pushState(null, '', `#${token}`);
    follow(token, true);
  } catch (error) { $('#work').hidden = true; throw error; }
}

const greet = () => attempt(async () => { // a finished take, before anything is made
  const status = await (await ask(`/api/takes/${welcome}`)).json();
  await showHeads(status);
  $('#said').textContent = 'An example, in the style “Smiling”. Press Play; then make your own.';
  page.token = welcome; sound.src = `/take/${welcome}/take.wav?shown`; see('heads');
});

function arrive() {
  const token = location.hash.slice(1);
  if (/^[0-9a-f]{32}$/.test(token)) follow(token, true); else greet();
}

// --- the head's sliders are shown at once, on the motion that is there

let pending = 0, aborter = null;
function preview() {
  clearTimeout(pending);
  pending = setTimeout(() => attempt(async () => {
    if (aborter) aborter.abort();
    aborter = new AbortController();
    const answer = await post(`/api/takes/${page.shown}/head`, headWish(), aborter.signal);
    await page.views[0].show(await answer.arrayBuffer());
  }), PAUSE);
}

// --- events

form.addEventListener('submit', (e) => { e.preventDefault(); attempt(make); });
form.addEventListener('input', (e) => { if (e.target.name in headWish() && $('#work').hidden) preview(); });
$('#compare').addEventListener('change', (e) => {
  $('#second').hidden = !e.target.checked; form.elements.other.disabled = !e.target.checked;
});
form.elements.emotion.addEventListener('change', (e) => { $('#felt').hidden = !e.target.selectedIndex; });
$('#speech').addEventListener('change', (e) => {
  const [file] = e.target.files;
  if (file) attempt(() => useSpeech(file, file.name));
});
$('#motion').addEventListener('change', (e) => attempt(() => useMotion(e.target.files[0])));
$('#unmotion').addEventListener('click', () => attempt(() => useMotion(null)));
$('#cancel').addEventListener('click', () => { stop(); $('#said').textContent = 'Stopped.'; $('#make').focus(); });
$('#again').addEventListener('click', () => { form.elements.seed.value = Math.floor(Math.random() * 1e6); attempt(make); });
document.querySelectorAll('[data-view]').forEach((button) => button.addEventListener('click', () => {
  see(button.dataset.view);
  (button.dataset.view === 'video' ? video : sound).play().catch(() => {});
}));
const toggle = () => { if (sound.paused) sound.play(); else sound.pause(); };
$('#play').addEventListener('click', toggle);
for (const name of ['play', 'pause', 'ended']) sound.addEventListener(name, () => { $('#play').hidden = !sound.paused; });
figures.forEach((figure) => figure.addEventListener('keydown', (e) => {
  if (e.key === ' ') { e.preventDefault(); toggle(); }
}));
window.addEventListener('hashchange', () => { stop(); arrive(); });
recorder($('#record'), Number(seconds), { said: (text) => { $('#heard').textContent = text; },
  done: (blob, name) => attempt(() => useSpeech(blob, name)) });

function frame() {
  for (const view of page.views) view.draw(sound.currentTime);
  const { creeping } = page;
  if (!$('#work').hidden) {
    creeping.at += (creeping.until - creeping.at) * EASE; $('#progress').value = creeping.at;
  }
  requestAnimationFrame(frame);
}

async function start() {
  const shared = await loadStage();
  const paint = () => figures.forEach((f) => { f.querySelector('canvas').style.background = backdrop(shared.stage, dark.matches ? 0.28 : 1); });
  paint(); dark.addEventListener('change', paint);
  page.views = figures.map((figure) => new View(figure.querySelector('canvas'), shared));
  arrive(); frame();
}

attempt(start);
