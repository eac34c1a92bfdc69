// Every parameter of the table, with the widget that fits its kind: what the table gains appears here by itself.

import { html, signal } from './html.js';
import { onBus, operator, parameters, pinned, show } from './state.js';
import { mapped, Widget } from './widgets.js';

const search = signal('');

export function Parameters() {
  const wanted = search.value.trim().toLowerCase();
  /** @type {Map<string, import('./state.js').Parameter[]>} */
  const groups = new Map();
  for (const row of parameters.value.values()) {
    if (row.name.includes('<') || (wanted && !`${row.name} ${row.doc}`.toLowerCase().includes(wanted))) continue;
    const group = row.name.split('/', 1)[0];
    groups.set(group, [...groups.get(group) ?? [], row]);
  }
  return html`<div class="parameters">
    <input type="search" placeholder="find a parameter" aria-label="find a parameter" value=${search.value} onInput=${(/** @type {any} */ event) => search.value = event.currentTarget.value} />
    ${[...groups].map(([group, rows]) => html`<section key=${group} aria-label=${group}><h3>${group}</h3>${rows.map(row => html`<${Row} key=${row.name} row=${row} />`)}</section>`)}
    ${!groups.size && html`<p class="faint">no parameter is named so</p>`}</div>`;
}

/** @param {{row: import('./state.js').Parameter}} props */
function Row({ row }) {
  const label = row.name.split('/').slice(1).join('/') || row.name, pin = pinned.value.includes(row.name);
  const sources = show.value.maps.filter(map => map.to === row.name).map(map => map.text).join(', ');
  return html`<div class="parameter" title=${row.doc} ...${mapped(onBus(row.name), false)}><span class="name">${label}</span>
    <div class="widget"><${Widget} name=${row.name} label=${row.kind === 'trigger' ? label : row.name} /></div>
    ${operator.value && html`<button class="button icon" aria-pressed=${pin} aria-label=${`${row.name} among the favourites`} title="show it among the favourites"
      onClick=${() => pinned.value = pin ? pinned.value.filter(name => name !== row.name) : [...pinned.value, row.name]}>${pin ? '★' : '☆'}</button>`}
    <small class="faint"><code>${row.osc}</code>${sources ? ` · ${sources}` : ''}</small></div>`;
}
