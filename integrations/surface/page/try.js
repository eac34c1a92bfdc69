// Try: the present scene in every light, or mood, act, weather, place, as stills. A click takes one, a longer press holds it.

import { cls, html, signal, useRef } from './html.js';
import { ask, fire } from './socket.js';
import { onBus, operator, parameter, show, stills, value } from './state.js';

const HOLD_MS = 350;
export const tried = signal('');

/** @param {string} attribute */
export function tryAttribute(attribute) {
  tried.value = attribute;
  ask('stills/try', { attribute });
}

/** @param {string} attribute
 * @param {string} what
 * @param {number} seconds */
function take(attribute, what, seconds) {
  const act = onBus(`act/${what}`);
  if (attribute === 'act' && parameter(act)) fire(act);
  else fire(onBus('prompt'), what, seconds);
}

/** @param {{attribute: string, item: {value: string, url: string | null}}} props */
function Still({ attribute, item }) {
  const finger = useRef(/** @type {any} */ (null));
  const down = (/** @type {PointerEvent} */ event) => {
    if (event.button || finger.current) return;
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    const held = finger.current = { at: performance.now(), prompt: String(value(onBus('prompt')).peek() ?? ''), act: String(value(onBus('act')).peek() ?? 'none') };
    take(attribute, item.value, attribute === 'act' ? 0 : 0.3);
    return held;
  };
  const up = () => {
    const held = finger.current;
    finger.current = null;
    if (!held || performance.now() - held.at < HOLD_MS) return;
    if (attribute === 'act') fire(onBus(`act/${held.act}`));
    else if (held.prompt) fire(onBus('prompt'), held.prompt, 0.3);
  };
  return html`<button class=${cls('still', !item.url && 'empty')} aria-label=${`${attribute}: ${item.value}`} title="click: take; hold: only while pressed"
    onPointerDown=${down} onPointerUp=${up} onPointerCancel=${up}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && !event.repeat) take(attribute, item.value, Number(value(onBus('transition')).peek() ?? 1)); }}>
    ${item.url && html`<img src=${item.url} alt="" draggable=${false} />`}<span class="label">${item.value}</span></button>`;
}

export function TryBar() {
  return html`<div class="banks" role="group" aria-label="try every">${Object.keys(show.value.attributes).map(attribute => html`<button
    aria-pressed=${tried.value === attribute} disabled=${!operator.value} onClick=${() => tryAttribute(attribute)}>${attribute}</button>`)}</div>
    <span class="end faint">${stills.value.try && !stills.value.try.done && tried.value ? 'drawing…' : ''}</span>
    ${tried.value && html`<button class="button" onClick=${() => tryAttribute(tried.value)} title="from what the program shows now">again</button>`}`;
}

export function Try() {
  /** @type {import('./state.js').Tried | undefined} */
  const now = stills.value.try, attribute = tried.value;
  if (!attribute) return html`<p class="empty">The present scene in every light, weather or mood: choose one above. A click takes a still, a longer press holds it.</p>`;
  const items = now?.attribute === attribute ? now.items : (show.value.attributes[attribute] ?? []).map(value => ({ value, url: null }));
  return html`<div class="stills" role="group" aria-label=${`stills of every ${attribute}`}>${items.map(item => html`<${Still} key=${item.value} attribute=${attribute} item=${item} />`)}</div>`;
}
