// What the figure does.

import { html } from './html.js';
import { onBus, operator, parameter, show, value } from './state.js';
import { keyName, mapped } from './widgets.js';
import { fire } from './socket.js';

export function Acts() {
  const choices = parameter('act')?.choices ?? [], now = value(onBus('act')).value;
  return html`<div class="acts" role="group" aria-label="acts">${choices.map(act => {
    const name = onBus(`act/${act}`), key = Object.entries(show.value.keys).find(([, to]) => to === `act/${act}`)?.[0];
    return html`<button class="button" aria-label=${act} aria-keyshortcuts=${key} aria-pressed=${now === act} disabled=${!operator.value} onClick=${() => fire(name)} title=${parameter(name)?.doc} ...${mapped(name)}>
      ${act}${key ? html`<kbd>${keyName(key)}</kbd>` : ''}</button>`;
  })}</div>`;
}
