// The mixer's controls: rows for groups and offsets, made from mixer.json, and the configuration that they stand for.

import { rest } from './mixer.js';
import { readSchedule } from './schedule.js';

const at = (id) => document.getElementById(id), LOUDEST = 2, LONGEST = 0.5, FARTHEST = 20; // of a slider: factor, s, degrees
export const word = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ');

export class Desk {
  // changed(): something was set; wrong(text): a file cannot be used.
  constructor(table, { changed, wrong }) {
    Object.assign(this, { table, changed, curves: {}, sliders: [], mirrors: [] });
    at('emotion').append(...Object.keys(table.emotions).map((name) => new Option(word(name), name)));
    for (const group of Object.keys(table.groups)) {
      this.row(at('groups'), group, this.slider(`gain.${group}`, word(group), 0, LOUDEST, '×'),
        this.slider(`smooth.${group}`, `Smoothing of ${group}`, 0, LONGEST, ' s'), this.mirror(group));
    }
    const units = [...Object.keys(table.offsets), table.jaw.offset];
    for (const name of units) this.row(at('offsets'), name, this.slider(`offset.${name}`, word(name), -1, 1, ''));
    for (const name of table.head_offsets) {
      this.row(at('offsets'), name, this.slider(`offset.${name}`, word(name), -FARTHEST, FARTHEST, '°'));
    }
    for (const id of ['emotion', 'intensity', 'eye_contact']) at(id).addEventListener('input', () => this.told());
    at('schedule').onchange = () => this.plan(at('schedule').files[0]).catch((error) => wrong(error.message));
    at('unschedule').onclick = () => this.plan(null);
    at('reset').onclick = () => this.reset();
  }

  row(table, name, ...cells) {
    const row = table.tBodies[0].insertRow(), head = document.createElement('th');
    Object.assign(head, { scope: 'row', textContent: word(name) });
    row.append(head);
    for (const cell of cells) row.insertCell().append(cell);
  }

  slider(key, label, min, max, unit) {
    const box = document.createElement('span'), slider = document.createElement('input'), shown = document.createElement('output');
    Object.assign(slider, { type: 'range', min, max, step: (max - min) / 40, value: rest(key), ariaLabel: label });
    const show = () => { shown.textContent = slider.ariaValueText = `${Number(slider.valueAsNumber.toFixed(2))}${unit}`; };
    slider.oninput = () => { show(); this.told(); };
    this.sliders.push({ key, slider, show }); show();
    box.append(slider, shown);
    return box;
  }

  mirror(group) {
    if (!this.table.mirrored.includes(group)) return '';
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', ariaLabel: `Mirror ${group}` });
    box.onchange = () => this.told();
    this.mirrors.push({ group, box });
    return box;
  }

  told() { at('felt').hidden = !at('emotion').value; this.changed(); }

  async plan(file) { // values over time; null: none
    this.curves = {}; at('planned').textContent = ''; at('unschedule').hidden = true;
    try {
      if (file) {
        this.curves = readSchedule(file.name, await file.text(), this.table);
        at('planned').textContent = `${file.name} sets ${Object.keys(this.curves).join(', ')}.`;
        at('unschedule').hidden = false;
      }
    } finally { at('schedule').value = ''; this.told(); }
  }

  reset() {
    for (const { key, slider, show } of this.sliders) { slider.value = rest(key); show(); }
    for (const { box } of this.mirrors) box.checked = false;
    at('emotion').value = ''; at('eye_contact').value = 0;
    this.plan(null);
  }

  get config() { // of a Mixer
    const values = { [this.table.eye_contact]: at('eye_contact').valueAsNumber }, smooth = {}, { curves } = this;
    if (at('emotion').value) values[at('emotion').value] = at('intensity').valueAsNumber;
    for (const { key, slider } of this.sliders) {
      const [kind, group] = key.split('.');
      if (kind === 'smooth') smooth[group] = slider.valueAsNumber; else values[key] = slider.valueAsNumber;
    }
    const mirror = this.mirrors.filter(({ box }) => box.checked).map(({ group }) => group);
    return { values, curves, smooth, mirror };
  }
}
