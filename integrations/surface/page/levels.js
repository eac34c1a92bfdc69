// The faders of the world itself, and what stops everything.

import { html } from './html.js';
import { fire, press } from './socket.js';
import { onBus, operator, parameter } from './state.js';
import { Fader, HoldButton, mapped, NumberField, Toggle, Trigger } from './widgets.js';

export function Levels() {
  return html`<div class="levels" role="group" aria-label="levels">
    <${Fader} name="energy" /><${Fader} name="live/look" label="live look" />
    <${Fader} name="speed" /><${Fader} name="live/strength" label="live strength" />
    <${Fader} name="guidance" /><${Fader} name="blackout" />
    <${Fader} name="steps" /><${Seed} /></div>`;
}

function Seed() {
  const name = onBus('seed');
  if (!parameter(name)) return null;
  return html`<div class="seed"><span class="label">seed</span><${NumberField} name="seed" />
    <button class="button" disabled=${!operator.value} title="another world" aria-label="another seed" onClick=${() => press(name, Math.floor(Math.random() * 100000))}>new</button></div>`;
}

/** Undo, freeze, panic: always in reach. */
export function Safety() {
  const panic = onBus('panic');
  if (!operator.value) return null;
  return html`<div class="safety" role="group" aria-label="safety"><${Trigger} name="undo" label="Undo" /><${Toggle} name="freeze" label="Freeze" />
    <${HoldButton} label="Panic" class="panic" title="hold: pads, camera, act, freeze and blackout to their defaults; the world starts anew" onHeld=${() => fire(panic)} extra=${mapped(panic)} /></div>`;
}
