// The favourites: go, the prompts that were starred, and the parameters that were pinned; for one thumb.

import { html } from './html.js';
import { fire } from './socket.js';
import { cueStatus, onBus, operator, parameter, pinned, show, value } from './state.js';
import { Widget } from './widgets.js';
import { Pads } from './pads.js';
import { prompt } from './prompt.js';

export function Favourites() {
  const { favourites, cues } = show.value, { next } = cueStatus.value, current = String(value(onBus('prompt')).value ?? '');
  return html`<div class="favourites">
    <div class="pinned">${pinned.value.filter(name => parameter(onBus(name))).map(name => html`<${Widget} key=${name} name=${name} label=${name.replace('/', ' ')} />`)}</div>
    <${Pads} count=${8} />
    <ul class="texts" aria-label="favourite prompts">${favourites.map(text => html`<li><button class="button" aria-pressed=${text === current} disabled=${!operator.value} onClick=${() => prompt(text)}>${text}</button></li>`)}
      ${!favourites.length && html`<li class="faint">A star beside the prompt line keeps a prompt here.</li>`}</ul>
    ${operator.value && html`<div class="thumb"><button class="button" onClick=${() => fire(onBus('cue/back'))}>◀ Back</button>
      <button class="button" onClick=${() => fire('tempo/tap')}>Tap</button>
      <button class="button primary big" aria-label=${`go: ${cues[next ?? -1]?.name ?? 'the next cue'}`} onClick=${() => fire(onBus('cue/go'))}><b>GO</b><small>${cues[next ?? -1]?.name ?? ''}</small></button></div>`}</div>`;
}
