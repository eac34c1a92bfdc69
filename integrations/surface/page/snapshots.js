// Snapshots: the deck and the faders as they were, kept by name.

import { html, useState } from './html.js';
import { fire } from './socket.js';
import { editable, onBus, operator, part } from './state.js';
import { mapped } from './widgets.js';

const names = part(status => status.snapshots);

export function Snapshots() {
  const [name, setName] = useState('');
  /** @param {string} text */
  const keep = text => {
    fire('snapshot/save', ...(text ? [text] : []));
    setName('');
  };
  return html`<div class="snapshots">${editable.value && html`<form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); keep(name.trim()); }}>
      <input type="text" placeholder="name" aria-label="name of a snapshot" value=${name} onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} />
      <button class="button primary" ...${mapped('snapshot/save')} title="keep the deck and the faders as they are now">Keep</button></form>`}
    <ul aria-label="snapshots">${names.value.map(one => html`<li key=${one}><button class="button" disabled=${!operator.value} onClick=${() => fire(onBus('snapshot/recall'), one)}>${one}</button>
      ${editable.value && html`<button class="button" aria-label=${`keep ${one} anew`} title="as it is now" onClick=${() => keep(one)}>update</button>`}</li>`)}
      ${!names.value.length && html`<li class="faint">none yet</li>`}</ul></div>`;
}
