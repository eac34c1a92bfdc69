// Meters of what sound does: level, bass, treble, onset. They are parameters, so that they can be played by hand, too.

import { html } from './html.js';
import { moved, parameter, parameters, part, show, value } from './state.js';
import { Fader, written } from './widgets.js';

const input = part(status => status.inputs.sound);

/** A value as it is now, with what modulators add to it; empty for what has none.
 * @param {string} name */
export const present = name => ['trigger', undefined].includes(parameter(name)?.kind) ? '' : written(name, moved.value[name] ?? value(name).value);

export function Sound() {
  const names = [...parameters.value.keys()].filter(name => name.startsWith('sound/'));
  return html`<div class="meters" role="group" aria-label="sound">${names.map(name => html`<${Fader} name=${name} vertical=${true} class="meter" />`)}</div><${Wiring} />`;
}

/** What sound plays besides the world itself: parameters, and the envelopes of modulators. */
function Wiring() {
  const { sound, fires } = show.value, levels = input.value?.levels ?? [];
  const bands = sound.map(({ of, to }, i) => ({ of, to, level: levels[i] ?? 0, now: present(to) })).filter(({ of, to }) => to !== `sound/${of}`); // that is a meter
  const envelopes = Object.entries(fires).flatMap(([n, names]) => names.filter(name => name.startsWith('sound/')).map(name => ({
    of: name.slice(6), to: `mod ${n}: ${value(`mod/${n}/to`).value || '–'}`, level: Number(value(name).value) || 0, now: '',
  })));
  const rows = [...bands, ...envelopes];
  return rows.length ? html`<ul class="wiring" aria-label="what sound is wired to">${rows.map(({ of, to, level, now }) => html`<li title=${`${of} moves ${to}`} style=${{ '--at': level }}>
    <small>${of}</small> <span>${to}</span> <output>${now}</output></li>`)}</ul>` : '';
}

export function SoundBar() {
  const { state, source } = input.value ?? {};
  return html`<span class="end faint" title=${input.value?.message}>${state ? `${String(source).split(/[/\\]/).at(-1)} ${state === 'listening' ? '' : state}` : 'no input'}</span>`;
}
