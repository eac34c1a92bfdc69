// Try: the present scene in every light, or mood, act, weather, place, as stills. A click takes one, a longer press shows it while pressed.

import { cls, html, signal, useRef } from './html.js';
import { ask, fire, press } from './socket.js';
import { onBus, operator, parameter, show, stills, value } from './state.js';

const HOLD_MS = 350;
export const tried = signal('');

/** @param {string} attribute */
export function tryAttribute(attribute) {
  tried.value = attribute;
  ask('stills/try', { attribute });
}

/** The controls that take a still, on the bus that is played: those that the world named, or simply its value.
 * @param {string} attribute
 * @param {import('./state.js').Still} still
 * @returns {[string, any][]} */
function controls(attribute, { value: what, controls: named }) {
  const all = Object.entries(named ?? {});
  if (!all.length) all.push(attribute === 'act' ? ['act', what] : ['prompt', what]);
  return all.map(([name, worth]) => [onBus(name), worth]);
}

/** @param {[string, any][]} all
 * @param {number} seconds */
function play(all, seconds) {
  for (const [name, worth] of all) {
    if (/(^|\/)prompt$/.test(name)) fire(name, worth, seconds);
    else if (parameter(name)?.kind === 'text') fire(name, worth);
    else press(name, worth);
  }
}

/** @param {{attribute: string, item: import('./state.js').Still}} props */
function StillButton({ attribute, item }) {
  const finger = useRef(/** @type {null | {at: number, before: [string, any][]}} */ (null));
  const seconds = () => Number(value(onBus('transition')).peek() ?? 1);
  const down = (/** @type {PointerEvent} */ event) => {
    if (event.button || finger.current || !operator.value) return;
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    const all = controls(attribute, item);
    finger.current = { at: event.timeStamp, before: all.map(([name]) => [name, value(name).peek()]) };
    play(all, Math.min(seconds(), 0.5));
  };
  const up = (/** @type {PointerEvent} */ event) => {
    const held = finger.current;
    finger.current = null;
    if (held && event.timeStamp - held.at > HOLD_MS) play(held.before.filter(([, worth]) => worth !== null), 0.5);
  };
  return html`<button class=${cls('still', !item.url && 'empty')} aria-label=${`${attribute}: ${item.value}`} title="click: take it; hold: show it while you press"
    onPointerDown=${down} onPointerUp=${up} onPointerCancel=${up}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && !event.repeat) play(controls(attribute, item), seconds()); }}>
    ${item.url && html`<img src=${item.url} alt="" draggable=${false} />`}<span class="label">${item.value}</span></button>`;
}

export function TryBar() {
  return html`<div class="banks" role="group" aria-label="try every">${Object.keys(show.value.attributes).map(attribute => html`<button
    aria-pressed=${tried.value === attribute} disabled=${!operator.value} onClick=${() => tryAttribute(attribute)}>${attribute}</button>`)}</div>
    <span class="end faint">${tried.value && stills.value.try ? stills.value.try.message || (stills.value.try.done ? '' : 'drawing') : ''}</span>
    ${tried.value && html`<button class="button" onClick=${() => tryAttribute(tried.value)} title="from what the program shows now">again</button>`}`;
}

export function Try() {
  /** @type {import('./state.js').Tried | undefined} */
  const now = stills.value.try, attribute = tried.value;
  if (!attribute) return html`<p class="empty">The present scene in every light, weather or mood: choose one above. Click: take it. Hold: show it while you press.</p>`;
  const items = now?.attribute === attribute && now.items.length ? now.items : (show.value.attributes[attribute] ?? []).map(value => ({ value, url: null }));
  return html`<div class="stills" role="group" aria-label=${`stills of every ${attribute}`}>${items.map(item => html`<${StillButton} key=${item.value} attribute=${attribute} item=${item} />`)}</div>`;
}
