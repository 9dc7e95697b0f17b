// A rater's visit: one trial after another. It lives at #<token>, so that a reload goes on where it was.

const $ = (selector) => document.querySelector(selector);
const videos = { left: $('#left'), right: $('#right') }, reference = $('#reference video');
const visit = { token: '', number: -1, questions: [], watched: new Set(), shown: 0 };
window.visit = visit; // for tests

async function ask(address, values) {
  const answer = await fetch(address, values === undefined ? {} : { method: 'POST', body: JSON.stringify(values),
    headers: { 'Content-Type': 'application/json' } });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error || 'This visit is no longer known; begin again.');
  return said;
}

async function attempt(work) {
  $('#error').textContent = '';
  try { await work(); } catch (error) { $('#error').textContent = error.message; }
}

function question([name, text]) {
  const box = document.createElement('fieldset');
  box.append(Object.assign(document.createElement('legend'), { textContent: text }));
  for (const side of Object.keys(videos)) {
    const label = Object.assign(document.createElement('label'), { className: 'choice' });
    label.append(Object.assign(document.createElement('input'), { type: 'radio', name, value: side }),
      side === 'left' ? 'The left one' : 'The right one');
    box.append(label);
  }
  return box;
}

const choices = () => Object.fromEntries(visit.questions.map((name) => [name, $('#trial').elements[name].value]));

function ready() {
  const watched = visit.watched.size === 2, answered = Object.values(choices()).every(Boolean);
  $('#hint').hidden = watched;
  $('#next').disabled = !(watched && answered);
}

function show(state) {
  visit.token = state.token; history.replaceState(null, '', `#${state.token}`);
  $('#welcome').hidden = true; $('#trial').hidden = state.done; $('#thanks').hidden = !state.done;
  if (state.done) { for (const video of [...Object.values(videos), reference]) video.removeAttribute('src'); return; }
  Object.assign(visit, { number: state.number, questions: Object.keys(state.questions), shown: performance.now() });
  visit.watched.clear();
  $('#place').textContent = `${state.number + 1} of ${state.total}`;
  Object.assign($('#progress'), { max: state.total, value: state.number });
  $('#questions').replaceChildren(...Object.entries(state.questions).map(question));
  $('#reference').hidden = !state.reference;
  const at = `/video/${state.token}/${state.number}`;
  if (state.reference) reference.src = `${at}/reference`; else reference.removeAttribute('src');
  for (const [side, video] of Object.entries(videos)) { video.src = `${at}/${side}`; }
  ready(); window.scrollTo(0, 0);
}

for (const [side, video] of Object.entries(videos)) {
  video.addEventListener('ended', () => { visit.watched.add(side); ready(); });
  video.addEventListener('play', () => { // one voice at a time
    for (const other of [...Object.values(videos), reference]) if (other !== video) other.pause();
  });
}
reference.addEventListener('play', () => Object.values(videos).forEach((video) => video.pause()));
$('#trial').addEventListener('input', ready);
$('#trial').addEventListener('submit', (e) => {
  e.preventDefault();
  attempt(async () => show(await ask(`/api/raters/${visit.token}`, { number: visit.number, choices: choices(),
    seconds: (performance.now() - visit.shown) / 1000 })));
});
$('#begin').addEventListener('click', () => attempt(async () => show(await ask('/api/raters', {}))));

const known = location.hash.slice(1);
if (/^[0-9a-f]{32}$/.test(known)) attempt(async () => show(await ask(`/api/raters/${known}`)));
