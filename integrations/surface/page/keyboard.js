// The keyboard plays the show by show.keys (node/show/keys.py): what stands behind a key is a parameter, and if need be a value.

import { batch } from './html.js';
import { fire, hold, press, set, unhold } from './socket.js';
import { drawer, editing, mapMode, onBus, operator, parameter, say, show, value } from './state.js';
import { learnKey, setMapMode } from './maps.js';
import { padPress } from './pads.js';

const PANIC_MS = 1200;
/** What happens when a key is let go. @type {Map<string, (at?: number) => void>} */
const down = new Map();
let warnedAt = -Infinity;

/** A key's name as the show has it: "q", " ", "arrowleft", "shift+w".
 * @param {KeyboardEvent} event */
export function nameOfKey(event) {
  const name = event.key.toLowerCase();
  return event.shiftKey && /^\p{Ll}$/u.test(name) ? `shift+${name}` : name;
}

/** Do what a key or button stands for. Returns what ends it, if anything.
 * @param {string} text as in "cue/go", "cam/yaw -1", "cue/go storm"
 * @param {number} [at] time stamp of the event
 * @returns {((at?: number) => void) | undefined} */
export function act(text, at) {
  const [bare, ...rest] = text.split(' '), arg = rest.join(' '), name = onBus(bare), row = parameter(name);
  if (!row) return;
  const worth = arg === '' || !Number.isFinite(Number(arg)) ? arg : Number(arg);
  if (row.kind === 'trigger') return fire(name, ...(arg === '' ? [] : [worth])), undefined;
  if (row.kind === 'text') return fire(name, arg), undefined;
  if (/^pad\/\d+$/.test(bare)) return padPress(name, at);
  if (bare.startsWith('cam/')) {
    hold(name, row.default ?? 0);
    set(name, arg === '' ? row.high : worth);
    return () => {
      set(name, row.default ?? 0);
      unhold(name);
    };
  }
  if (row.kind === 'enum') return press(name, arg), undefined;
  const on = row.kind === 'bool' ? (arg === '' || Boolean(worth)) : arg === '' ? row.high : worth;
  press(name, value(name).peek() === on ? row.default : on);
}

function releaseAll() {
  for (const up of down.values()) up();
  down.clear();
}

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {});
}

/** @param {KeyboardEvent} event */
function keydown(event) {
  const target = event.target instanceof HTMLElement ? event.target : document.body;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector('dialog[open]')) return;
  const key = nameOfKey(event);
  if (learnKey(event, key)) return;
  if (target.matches('input, textarea, select, [contenteditable]')) return;
  if (target.closest('button, summary, a') && (key === ' ' || key === 'enter')) return; // it was reached by the keyboard
  if (key === '?') drawer.value = drawer.value === 'keys' ? '' : 'keys';
  else if (key === 'escape' && (mapMode.value || drawer.value || editing.value)) batch(() => {
    if (mapMode.value) setMapMode(false);
    drawer.value = '';
    editing.value = false;
  });
  else {
    const to = show.value.keys[key] ?? show.value.keys[event.key]; // a show of before names them as browsers do
    if (key === 'f' && !to) full();
    if (!to || !operator.value) return;
    event.preventDefault();
    if (event.repeat || down.has(event.code)) return;
    if (to === 'panic' && performance.now() - warnedAt > PANIC_MS) {
      warnedAt = performance.now();
      say('Press it again for panic');
      return;
    }
    const up = act(to, event.timeStamp);
    if (up) down.set(event.code, up);
    return;
  }
  event.preventDefault();
}

/** @param {KeyboardEvent} event */
function keyup(event) {
  down.get(event.code)?.(event.timeStamp);
  down.delete(event.code);
}

export function listen() {
  addEventListener('keydown', keydown);
  addEventListener('keyup', keyup);
  addEventListener('blur', releaseAll);
  // The mouse plays without taking the focus, so that the keys go on playing; a click beside a text field leaves it.
  addEventListener('mousedown', event => {
    const target = /** @type {Element} */ (event.target);
    if (!(target instanceof Element) || target.closest('input, textarea, select, label, dialog, summary')) return;
    event.preventDefault();
    if (document.activeElement instanceof HTMLElement) document.activeElement.blur();
  });
  addEventListener('contextmenu', event => { if (!(/** @type {Element} */ (event.target)).closest?.('input, textarea')) event.preventDefault(); });
}
