// What the page knows of the show: the parameter table, the newest values, the show file, how it goes. Signals throughout, so that
// a component draws itself again when, and only when, what it reads has changed.

import { computed, signal } from './html.js';

/** @typedef {'float' | 'int' | 'bool' | 'trigger' | 'enum' | 'text'} Kind */
/** One row of the table that OSC, MIDI and this page share (node/control/reference.py).
 * @typedef {{name: string, osc: string, arguments: string, kind: Kind, low: number | null, high: number | null, choices: string[],
 *   default: any, unit: string, midi: string, doc: string}} Parameter */
/** @typedef {{label: string, text: string, image: string, sound: string, video: string, prompt: string}} Pad */
/** @typedef {{name: string, pads: Pad[]}} Bank */
/** @typedef {{name: string, prompt: string | null, bank: any, pads: Record<string, number> | null, values: Record<string, any>,
 *   seconds: number | null, transition: string | null, curve: string, quantise: string | null, follow: string | number | null, at: string | null}} Cue */
/** @typedef {{kind: string, source: any, text: string, to: string, low: number | null, high: number | null, curve: string,
 *   takeover: string | null, locked: boolean}} Mapping */
/** @typedef {{name: string, file: string, model: string, size: string | number[], fps: number, unsaved: boolean, error: string, banks: Bank[],
 *   cues: Cue[], maps: Mapping[], keys: Record<string, string>, favourites: string[], attributes: Record<string, string[]>,
 *   sound: {of: string, to: string}[], fires: Record<string, string[]>}} Show */
/** @typedef {{state: string, message: string, facts: Record<string, any>}} OutputStatus */
/** One value of an attribute, and the controls that give it on the program, texts among them.
 * @typedef {{value: string, url: string | null, controls?: Record<string, any>}} Still */
/** @typedef {{id: number, attribute: string, items: Still[], done: boolean,
 *   message?: string}} Tried */
/** A fader that does nothing until it reaches its parameter's value; it stands where that would be `at`.
 * @typedef {{text: string, to: string, at: any}} Pickup */
/** @typedef {{world: Record<string, any>, clock: Record<string, number>, latency_ms: Record<string, number>,
 *   outputs: Record<string, OutputStatus>, inputs: Record<string, any>, messages: {at: number, text: string}[], log: string,
 *   tempo: {bpm: number, source: string, beat: number, beats_a_bar: number, bars_a_phrase: number},
 *   cue: {now: number | null, next: number | null, waiting: {index: number, seconds: number} | null,
 *     follow: {index: number, seconds: number} | null, moving: {left: number, of: number} | null},
 *   tally: string, bank: number, snapshots: string[], surfaces: number, preview: {state: string, fps: number, message: string},
 *   stills: Record<string, any>, learning: {to: string, kind: string | null} | null, pickup: Pickup[],
 *   moved: Record<string, number>, timecode: Timecode | null}} Status */
/** seconds and speed are those of the moment of the status; cues has each cue's time by its index.
 * @typedef {{source: string, from: string, rate: string, frames: number, real: number, drop: boolean, now: string, seconds: number, speed: number,
 *   state: string, chase: boolean, next: {index: number, at: string, seconds: number} | null, message: string,
 *   cues: Record<string, {label: string, seconds: number}>}} Timecode */

/** @type {Show} */
const NO_SHOW = {
  name: '', file: '', model: '', size: '', fps: 0, unsaved: false, error: '', banks: [], cues: [], maps: [], keys: {}, favourites: [],
  attributes: {}, sound: [], fires: {},
};
/** @type {Status} */
const NO_STATUS = {
  world: {}, clock: {}, latency_ms: {}, outputs: {}, inputs: {}, messages: [], log: '',
  tempo: { bpm: 120, source: '', beat: 0, beats_a_bar: 4, bars_a_phrase: 4 },
  cue: { now: null, next: null, waiting: null, follow: null, moving: null },
  tally: 'off', bank: 1, snapshots: [], surfaces: 0, preview: { state: 'off', fps: 0, message: '' }, stills: {}, learning: null, pickup: [], moved: {}, timecode: null,
};

/** @type {import('./vendor/signals.js').Signal<'connecting' | 'open' | 'lost'>} */
export const line = signal('connecting');
export const role = signal('');
export const version = signal('');
export const operator = computed(() => role.value === 'operator');
/** @type {import('./vendor/signals.js').Signal<Map<string, Parameter>>} */
export const parameters = signal(new Map());
export const show = signal(NO_SHOW);
export const status = signal(NO_STATUS);
/** When the newest status came, in milliseconds of `performance.now()`. */
export let statusAt = 0;

/** A part of the status that draws again only when its content changed.
 * @template T
 * @param {(status: Status) => T} of */
export function part(of) {
  /** @type {T} */ let last;
  let text = '';
  return computed(() => {
    const now = of(status.value), written = JSON.stringify(now);
    if (written !== text) [text, last] = [written, now];
    return last;
  });
}
export const cueStatus = part(status => status.cue);
export const tempoStatus = part(({ tempo }) => ({ ...tempo, beat: 0 }));
export const previewStatus = part(status => status.preview);
export const stills = part(status => status.stills);
export const learning = part(status => status.learning);
/** The present values of what modulators move. */
export const moved = part(status => status.moved);
export const pickups = part(status => status.pickup);

// -- program or preview

/** The bus that every control of this page plays. @type {import('./vendor/signals.js').Signal<'program' | 'preview'>} */
export const bus = signal('program');
// The clock, the sound and the screens are the program's alone (node/parameters.py: preview_name).
const PROGRAM_ONLY = /^(sound\/|keystone\/|tempo|mod\/|preview\/|crowd\/|story\/|players\/|blackout|inbetween|quantise|learn|snapshot\/save|timecode\/)/;

/** A parameter's name on the bus that is being played.
 * @param {string} name */
export function onBus(name) {
  return bus.value === 'preview' && !PROGRAM_ONLY.test(name) ? `preview/${name}` : name;
}

/** @param {string} name
 * @returns {Parameter | undefined} */
export function parameter(name) {
  const table = parameters.value, bare = table.has(name) ? name : name.replace(/^preview\//, '');
  return table.get(bare.startsWith('word/') ? 'word/<word>' : bare);
}

// -- values

/** @type {Map<string, import('./vendor/signals.js').Signal<any>>} */
const values = new Map();
/** The server's newest, also of names that a finger holds. @type {Map<string, any>} */
const told = new Map();
/** @type {Map<string, number>} */
const held = new Map();
const ECHO_MS = 300; // until the server's echo of a released drag has come back

/** The newest value of a parameter, by its whole name.
 * @param {string} name */
export function value(name) {
  let found = values.get(name);
  if (!found) {
    const bare = name.replace(/^preview\//, '');
    found = signal(told.get(name) ?? told.get(bare) ?? parameter(name)?.default ?? null);
    values.set(name, found);
  }
  return found;
}

/** A finger holds that value: what the server says about it waits until it is let go.
 * @param {string} name */
export function grab(name) {
  clearTimeout(held.get(name));
  held.set(name, 0);
}

/** @param {string} name */
export function letGo(name) {
  clearTimeout(held.get(name));
  held.set(name, window.setTimeout(() => {
    held.delete(name);
    if (told.has(name)) value(name).value = told.get(name);
  }, ECHO_MS));
}

/** What the server says is so.
 * @param {Record<string, any>} news */
export function learn(news) {
  for (const [name, worth] of Object.entries(news)) {
    told.set(name, worth);
    if (!held.has(name)) value(name).value = worth;
  }
}

/** Everything anew, after a connection was made.
 * @param {{role: string, version: string, parameters: Parameter[], values: Record<string, any>, show: Show, status: Status}} hello */
export function begin(hello) {
  role.value = hello.role;
  version.value = hello.version;
  parameters.value = new Map(hello.parameters.map(row => [row.name, row]));
  told.clear();
  for (const name of values.keys()) if (!(name in hello.values) && !held.has(name)) value(name).value = fallback(name, hello.values);
  learn(hello.values);
  show.value = { ...NO_SHOW, ...hello.show };
  setStatus(hello.status);
}

/** @param {string} name
 * @param {Record<string, any>} all */
const fallback = (name, all) => all[name.replace(/^preview\//, '')] ?? parameter(name)?.default ?? null;

/** @param {Partial<Status>} news */
export function setStatus(news) {
  statusAt = performance.now();
  status.value = { ...NO_STATUS, ...news };
}

/** @param {Partial<Show>} news */
export function setShow(news) {
  show.value = { ...NO_SHOW, ...news };
}

/** The show's beat now, counted on from the newest status. */
export function beatNow() {
  const { beat, bpm } = status.peek().tempo;
  return beat + ((performance.now() - statusAt) / 60000) * bpm;
}

// -- what this page alone decides

/** @type {import('./vendor/signals.js').Signal<string>} '' or the drawer that is open */
export const drawer = signal('');
export const mapMode = signal(false);
export const editing = signal(false);

/** A value that this browser keeps; with `sessionStorage`, for as long as its tab is open.
 * @template T
 * @param {string} key
 * @param {T} initial
 * @param {'localStorage' | 'sessionStorage'} [where] */
export function kept(key, initial, where = 'localStorage') {
  let start = initial;
  try {
    start = JSON.parse(window[where].getItem(`wj/${key}`) ?? 'null') ?? initial;
  } catch { /* no storage: a private window */ }
  const held = signal(start);
  held.subscribe(now => {
    try {
      window[where].setItem(`wj/${key}`, JSON.stringify(now));
    } catch { /* the same */ }
  });
  return held;
}
export const performing = kept('performing', false, 'sessionStorage'); // a reload in the middle of a show stays in it
/** Whether something can be edited here and now. */
export const editable = computed(() => operator.value && !performing.value);
export const pinned = kept('pinned', ['energy', 'speed', 'morph', 'blackout']);

/** The last thing that the page has to say, in one line. @type {import('./vendor/signals.js').Signal<{text: string, bad: boolean} | null>} */
export const notice = signal(null);
let noticeTimer = 0;
/** @param {string} text
 * @param {boolean} [bad] */
export function say(text, bad = false) {
  notice.value = { text, bad };
  clearTimeout(noticeTimer);
  noticeTimer = window.setTimeout(() => notice.value = null, bad ? 8000 : 4000);
}
