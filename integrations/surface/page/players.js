// Players: who sits where, whose turn it is, and the show's events.

import { cls, html, signal } from './html.js';
import { fire } from './socket.js';
import { operator, part } from './state.js';
import { Choice, Toggle } from './widgets.js';
import { nameOfKey } from './keyboard.js';

/** @typedef {{seat: number, name: string, device: string, turn: boolean, axes: Record<string, number>, down: string[]}} Seat */
/** @typedef {{name: string, on: boolean, left: number | null, count: number}} ShowEvent */

const players = part(status => status.inputs.players ?? null);
/** @type {{value: ShowEvent[]}} */
const events = part(status => /** @type {any} */ (status).events ?? []);

/** Whether the keys of this page are the players'. */
const lent = signal(false);
/** @type {Set<string>} */
const down = new Set();

function letGo() {
  for (const key of down) fire('players/key', key, 0);
  down.clear();
}

/** A key of the players goes to them, and plays nothing else.
 * @param {KeyboardEvent} event */
function onKey(event) {
  const key = nameOfKey(event), target = event.target;
  if (!lent.value || !operator.value || !players.value?.keys?.includes(key)) return;
  if (target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]')) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const pressed = event.type === 'keydown';
  if (pressed === down.has(key)) return;
  if (pressed) down.add(key);
  else down.delete(key);
  fire('players/key', key, pressed ? 1 : 0);
}
addEventListener('keydown', onKey, true);
addEventListener('keyup', onKey, true);
addEventListener('blur', letGo);

/** What a player does now, in words.
 * @param {Seat} seat */
const doing = seat => [...Object.entries(seat.axes).map(([axis, x]) => `${axis.slice(4)} ${x.toFixed(1)}`), ...seat.down.map(one => one.split('/')[1])].join(', ');

/** @param {{seat: Seat, left: number | null}} props */
const SeatRow = ({ seat, left }) => html`<li class=${cls(!seat.name && 'faint', seat.turn && 'turn')}><b>${seat.seat}</b>
  <span>${seat.name || 'free'}<small>${seat.name && (doing(seat) || 'at rest')}</small></span>
  ${seat.turn && html`<output>${left === null ? '' : `${Math.ceil(left)} s`}</output>`}
  ${seat.name && operator.value && html`<button class="button" aria-label=${`free seat ${seat.seat}`} onClick=${() => fire('players/kick', seat.seat)}>Kick</button>`}</li>`;

function Events() {
  if (!events.value.length) return null;
  return html`<h3>Events</h3><div class="events">${events.value.map(one => html`<button class=${cls('button', one.on && 'on')} aria-pressed=${one.on} disabled=${!operator.value}
    onPointerDown=${() => fire(`event/${one.name}`, 1)} onPointerUp=${() => fire(`event/${one.name}`, 0)} onPointerCancel=${() => fire(`event/${one.name}`, 0)}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && !event.repeat) fire(`event/${one.name}`, 1); }}
    onKeyUp=${(/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter') fire(`event/${one.name}`, 0); }}>${one.name}<small>${one.left !== null ? `${one.left} s` : one.count || ''}</small></button>`)}</div>`;
}

export function Players() {
  const facts = players.value;
  if (!facts) return html`<div class="players"><p>No players in this show. Add to its file:</p><pre>players: on</pre>
    <p class="faint">Every gamepad is then a player's: press A to take a seat.</p><${Events} /></div>`;
  /** @type {Seat[]} */
  const seats = facts.seats;
  return html`<div class="players">
    ${(facts.error || facts.note || facts.message) && html`<p class="warn">${facts.error || facts.note || facts.message}</p>`}
    ${operator.value && html`<div class="row"><${Toggle} name="players/on" label="Players play" /><${Choice} name="players/mode" label="players share the camera by" seg />
      <button class="button" disabled=${facts.turn === null} onClick=${() => fire('players/next')}>Next player</button></div>`}
    ${facts.held.length > 0 && html`<p>You hold ${facts.held.join(', ')}: players have it again when it is back in the middle.</p>`}
    <h3>Seats</h3><ol class="seats">${seats.map(seat => html`<${SeatRow} key=${seat.seat} seat=${seat} left=${facts.left} />`)}</ol>
    ${facts.waiting.length > 0 && html`<p class="faint">Without a seat: ${facts.waiting.join(', ')}. ${seats.some(seat => !seat.name) ? 'The first press of A takes one.' : ''}</p>`}
    ${facts.keys.length > 0 && operator.value && html`<label class="row"><input type="checkbox" checked=${lent.value} onChange=${(/** @type {any} */ event) => {
      letGo();
      lent.value = event.currentTarget.checked;
    }} /><span>Lend this keyboard: <kbd>${facts.keys.map((/** @type {string} */ key) => key === ' ' ? 'space' : key).join(' ')}</kbd></span></label>`}
    <${Events} /></div>`;
}
