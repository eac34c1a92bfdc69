// Map mode: click anything, then move a MIDI control, press a key, a gamepad button or stick, or send an OSC message.

import { DeleteButton } from './dialog.js';
import { cls, computed, effect, html } from './html.js';
import { ask, request } from './socket.js';
import { drawer, editable, learning, mapMode, parameter, say, show, value } from './state.js';
import { keyName, waits } from './widgets.js';

/** Sources that play more than one parameter. */
const doubled = computed(() => {
  /** @type {Map<string, number>} */
  const count = new Map();
  for (const map of show.value.maps) if (!map.locked) count.set(`${map.kind} ${map.text}`, (count.get(`${map.kind} ${map.text}`) ?? 0) + 1);
  return new Set([...count].filter(([, times]) => times > 1).map(([text]) => text));
});

/** @param {boolean} on */
export function setMapMode(on) {
  mapMode.value = on && editable.value;
  if (drawer.value === 'maps') drawer.value = ''; // in Map mode the list lies over a picture, where it covers no control
  if (!on && (learning.value || clicked)) ask('map/cancel');
  if (!on) clicked = null;
}

/** What this page waits for, until the status of the show says so, too: the control that was clicked; '' once a key was pressed for it, so
 * that the next key is not mapped as well; null where the show's own word counts. @type {string | null} */
let clicked = null, told = '';
effect(() => {
  const to = learning.value?.to ?? '';
  if (!to && (clicked === told || clicked === '')) clicked = null;
  told = to;
});
/** @param {string} to */
function learn(to) {
  clicked = to;
  ask('map/learn', { to });
}

/** @param {string} key
 * @param {string} to */
async function mapKey(key, to) {
  const before = show.peek().keys[key];
  try {
    await request('key/set', { key, to });
    say(before && before !== to ? `${keyName(key)} was ${before} and is now ${to}` : `${keyName(key)} is now ${to}`);
  } catch (error) {
    say(/** @type {Error} */ (error).message, true);
  }
}

// In Map mode a click on a control chooses it, and does nothing else.
const chosen = (/** @type {Event} */ event) => {
  if (!mapMode.value) return;
  const target = event.target instanceof Element ? event.target : null, control = target?.closest('[data-map]');
  if (!control) return;
  event.preventDefault();
  event.stopPropagation();
  if (event.type === 'pointerdown') learn(/** @type {HTMLElement} */ (control).dataset.map ?? '');
};
for (const kind of ['pointerdown', 'mousedown', 'click', 'dblclick']) addEventListener(kind, chosen, true);

/** A key while something waits to be mapped. Returns whether it was taken.
 * @param {KeyboardEvent} event
 * @param {string} key */
export function learnKey(event, key) {
  const to = clicked ?? learning.value?.to;
  if (!mapMode.value) return false;
  if (event.key === 'Enter' && !to) {
    const control = /** @type {HTMLElement | null} */ (document.activeElement?.closest?.('[data-map]') ?? null);
    if (!control) return false;
    learn(control.dataset.map ?? '');
  } else if (!to || event.key === 'Tab' || event.key === 'Shift') return false;
  else if (event.key === 'Escape') {
    clicked = '';
    ask('map/cancel');
  } else {
    clicked = '';
    const row = parameter(to), camera = /(^|\/)cam\//.test(to) && row?.kind === 'float';
    mapKey(key, camera ? `${to} 1` : to);
    ask('map/cancel');
  }
  event.preventDefault();
  return true;
}

const CURVES = ['linear', 'log', 'exp', 's'], TAKEOVERS = ['pickup', 'scale', 'jump'];

/** @param {{map: import('./state.js').Mapping, index: number}} props */
function MapRow({ map, index }) {
  const clash = doubled.value.has(`${map.kind} ${map.text}`), ranged = ['float', 'int'].includes(parameter(map.to)?.kind ?? ''), waiting = map.kind === 'midi' && waits(map.to, map.text);
  const was = { kind: map.kind, text: map.text, to: map.to }; // the index of a map changes when another page adds one
  /** @param {string} field
   * @param {any} worth */
  const edit = (field, worth) => ask('map/edit', { index, was, fields: { [field]: worth } });
  /** @param {'low' | 'high'} field */
  const number = field => html`<input type="text" inputmode="decimal" aria-label=${`${field} end of ${map.text} for ${map.to}`} disabled=${!editable.value} value=${map[field] ?? ''}
    onChange=${(/** @type {any} */ event) => edit(field, event.currentTarget.value.trim() === '' ? null : Number(event.currentTarget.value))} />`;
  /** @param {'curve' | 'takeover'} field
   * @param {string[]} choices */
  const choice = (field, choices) => html`<select aria-label=${`${field} of ${map.text} for ${map.to}`} disabled=${!editable.value} value=${map[field]}
    onChange=${(/** @type {any} */ event) => edit(field, event.currentTarget.value)}>${choices.map(one => html`<option value=${one} selected=${one === map[field]}>${one}</option>`)}</select>`;
  return html`<li class=${cls(clash && 'clash', learning.value?.to === map.to && 'on')}><span class="kind">${map.kind}</span><span class="source">${map.text}</span><span class="to">${map.to}</span>
    ${editable.value ? html`<${DeleteButton} class="icon" label=${`unmap ${map.text} from ${map.to}`} onSure=${() => ask('map/remove', { index, was })}>×</${DeleteButton}>` : ''}
    ${ranged && !map.locked && html`<span class="range">${number('low')}–${number('high')}${choice('curve', CURVES)}${map.takeover ? choice('takeover', TAKEOVERS) : ''}</span>`}
    ${waiting && html`<small class="pickup">${waiting}</small>`}
    ${clash && html`<small class="why">${map.text} plays more than one parameter</small>`}</li>`;
}

export function Maps() {
  const { maps } = show.value, to = learning.value?.to;
  const rows = maps.map((map, index) => ({ map, index })).filter(({ map }) => map.kind !== 'key'); // keys have a list of their own
  const own = rows.filter(({ map }) => !map.locked), defaults = rows.filter(({ map }) => map.locked);
  /** @param {{map: import('./state.js').Mapping, index: number}} row */
  const draw = row => html`<${MapRow} key=${`${row.map.kind} ${row.map.text} ${row.map.to}`} ...${row} />`;
  return html`<div class="maps">
    <p class=${cls('learning', to && 'on')} aria-live="polite">${to ? html`Now move a MIDI control, press a key or a gamepad button, or send an OSC message for <b>${to}</b>${parameter(to)?.kind === 'enum' ? html`; a key or button chooses <b>${value(to).value}</b>` : ''}.
        <button class="button" onClick=${() => ask('map/cancel')}>Cancel</button>`
      : mapMode.value ? html`Click the control that you want to map.<button class="button" onClick=${() => setMapMode(false)}>Done</button>` : editable.value ? html`<button class="button" onClick=${() => setMapMode(true)}>Map a control</button>` : ''}</p>
    ${mapMode.value && html`<h3>Maps</h3>`}<ul aria-label="maps">${own.map(draw)}${!own.length && html`<li class="none faint">nothing but the defaults</li>`}</ul>
    <h3>Keys</h3><${KeyList} />
    ${defaults.length ? html`<h3>Defaults</h3><ul aria-label="default maps">${defaults.map(draw)}</ul>` : ''}</div>`;
}

/** All keys and what they do. */
export function KeyList() {
  return html`<ul class="keys" aria-label="keys">${Object.entries(show.value.keys).map(([key, to]) => html`<li key=${key}><kbd>${keyName(key)}</kbd><span class="to">${to}</span>
    ${mapMode.value && editable.value && html`<${DeleteButton} class="icon" label=${`unmap key ${keyName(key)}`} onSure=${() => ask('key/remove', { key })}>×</${DeleteButton}>`}</li>`)}
    <li><kbd>F</kbd><span class="to">full screen</span></li><li><kbd>?</kbd><span class="to">this list</span></li></ul>`;
}
