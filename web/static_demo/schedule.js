// A schedule's file -> values over time, { name: [[seconds, value], ...] }: models/mixing/schedule.py and config.py.

const TIME = 'seconds';

// Throws an Error, which begins with the file's name, for a file that is no such table.
export function readSchedule(file, text, table) {
  const rows = file.toLowerCase().endsWith('.json') ? jsonRows(file, text) : csvRows(file, text), points = {}, times = [];
  rows.forEach((row, k) => {
    if (!(TIME in row)) throw new Error(`${file}: row ${k + 1} has no '${TIME}'; every row needs its time`);
    times.push(row[TIME]);
    for (const [name, value] of Object.entries(row)) if (name !== TIME) (points[name] ||= []).push([row[TIME], value]);
  });
  const names = Object.keys(points), grow = times.every((time, k) => !k || time > times[k - 1]);
  if (!names.length || !grow) {
    const reason = names.length ? `its ${TIME} do not increase from row to row` : 'holds no values';
    throw new Error(`${file}: ${reason}; docs/mixer.md shows a schedule`);
  }
  for (const name of names) for (const [, value] of points[name]) check(file, name, value, table);
  return points;
}

function csvRows(file, text) {
  const lines = text.split(/\r\n|\r|\n/).filter((line) => line.trim());
  const [heading = [], ...rows] = lines.map((line) => line.split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1')));
  return rows.map((cells, k) => {
    if (cells.length > heading.length) throw new Error(`${file}: row ${k + 1} has more cells than the heading; remove them`);
    const given = heading.slice(0, cells.length).map((name, i) => [name, cells[i]]).filter(([, cell]) => cell);
    return Object.fromEntries(given.map(([name, cell]) => [name, number(cell, `${file}: row ${k + 1}: ${name}`)]));
  });
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

function jsonRows(file, text) {
  let rows;
  try { rows = JSON.parse(text); } catch { rows = null; }
  if (!Array.isArray(rows) || !rows.every(isObject)) {
    throw new Error(`${file}: must be a list of objects, such as [{"seconds": 0, "happy": 0.5}]`);
  }
  return rows.map((row, k) => {
    const flat = Object.entries(row).flatMap(([name, value]) => (isObject(value)
      ? Object.entries(value).map(([part, one]) => [`${name}.${part}`, one]) : [[name, value]]));
    return Object.fromEntries(flat.map(([name, value]) => [name, number(value, `${file}: row ${k + 1}: ${name}`)]));
  });
}

function number(value, what) {
  const found = typeof value === 'string' && !value.trim() ? NaN : Number(Array.isArray(value) ? NaN : value ?? NaN);
  if (!Number.isFinite(found)) throw new Error(`${what} is ${typeof value === 'string' ? `'${value}'` : JSON.stringify(value)}; give a number`);
  return found;
}

function check(file, key, value, table) {
  const dot = key.lastIndexOf('.'), name = key.slice(dot + 1), kind = dot < 0 ? 'emotion' : key.slice(0, dot);
  const [known, [low, high]] = table.kinds[kind] || [[], [0, 1]];
  if (kind === 'smooth') throw new Error(`${file}: '${key}' is not a choice; time constants do not vary`);
  if (key !== table.eye_contact && !known.includes(name)) {
    const names = [...table.kinds.emotion[0], ...Object.keys(table.kinds).map((one) => `${one}.NAME`)];
    throw new Error(`${file}: '${key}' is not a choice; use one of ${names.join(', ')}`);
  }
  const most = table.head_offsets.includes(name) ? table.most_degrees : null, [least, greatest] = most ? [-most, most] : [low, high];
  if (!(least <= value && value <= greatest)) {
    throw new Error(`${file}: must lie between ${least} and ${greatest}, got ${value}`);
  }
}
