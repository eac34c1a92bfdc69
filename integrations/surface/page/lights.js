// Lighting desks: who sends, and what each channel plays.

import { cls, html } from './html.js';
import { part } from './state.js';

/** @typedef {{universe: number, name: string, address: string, protocol: string, priority: number, rate: number}} Source */
/** @typedef {{universe: number, channel: number, bits: number, to: string, label: string, value: number | null}} Channel */

/** @typedef {{name: string, universe: number, channel: number, pixels: number, rgb: number[]}} Light */

const lights = part(status => status.inputs.lights ?? null);
const lit = part(status => Object.values(status.outputs).flatMap(output => /** @type {Light[]} */ (output.facts?.lights ?? [])));

export const Lights = () => html`<div class="lights"><${Desks} /><${Room} /></div>`;

function Room() {
  if (!lit.value.length) return null;
  return html`<h3>Lit by the world</h3><ul class="room">${lit.value.map(one => html`<li><svg viewBox="0 0 1 1" preserveAspectRatio="none" aria-label=${`${one.name}: ${one.rgb.join(', ')}`}><rect width="1" height="1" fill=${`rgb(${one.rgb.join(',')})`} /></svg>
    <span>${one.name}</span><small>${one.universe}.${one.channel}${one.pixels > 1 ? ` · ${one.pixels} pixels` : ''}</small></li>`)}</ul>`;
}

/** @param {Channel} row */
const share = row => row.value === null ? 0 : row.value / (2 ** row.bits - 1);

function Desks() {
  const facts = lights.value;
  if (!facts) return html`<div><p>This show listens to no lighting desk. Add to its file:</p><pre>lights: on</pre>
    <p class="faint">Art-Net and sACN then play it from channel 1 of universe 1. <code>wj reference --gdtf wj.gdtf</code> writes the fixture for your desk.</p></div>`;
  /** @type {Source[]} */
  const sources = facts.sources ?? [];
  /** @type {Channel[]} */
  const patch = facts.patch ?? [];
  return html`<div>
    ${(facts.error || facts.message) && html`<p class="warn">${facts.error || facts.message}</p>`}
    <h3>Desks</h3>${!sources.length && html`<p class="faint">none sends universe ${(facts.universes ?? []).join(', ')} to ${facts.host === '0.0.0.0' ? 'this machine' : facts.host}</p>`}
    <dl>${sources.map(one => html`<div><dt>${one.name}</dt><dd><b>${one.protocol} ${one.universe}</b> ${one.address}${one.protocol === 'sACN' ? ` · priority ${one.priority}` : ''} · ${one.rate} a second</dd></div>`)}</dl>
    <h3>Channels</h3><ol class="patch">${patch.map(row => html`<li class=${cls(row.value === null && 'faint')}><b>${row.universe}.${row.channel}</b>
      <span>${row.label}<small>${row.label === row.to ? '' : row.to}</small></span><meter min="0" max="1" value=${share(row)} aria-label=${row.label}></meter>
      <output>${row.value ?? '–'}</output></li>`)}</ol></div>`;
}
