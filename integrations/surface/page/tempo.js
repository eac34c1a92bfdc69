// Tempo: lights of beat and bar, taps, the downbeat, and who keeps the time.

import { cls, html, signal } from './html.js';
import { operator, tempoStatus, beatNow, line } from './state.js';
import { Choice, NumberField, Trigger } from './widgets.js';

/** The beat that is now, counted on between two statuses; it changes with each beat only. */
const beat = signal(0);
(function count() {
  if (line.peek() === 'open') beat.value = Math.floor(beatNow() + 1e-3);
  requestAnimationFrame(count);
})();

export function BeatLights() {
  const { beats_a_bar: beats, bars_a_phrase: bars } = tempoStatus.value, now = beat.value;
  const inBar = ((now % beats) + beats) % beats, bar = ((Math.floor(now / beats) % bars) + bars) % bars;
  return html`<div class="beats" role="img" aria-label=${`beat ${inBar + 1} of ${beats}, bar ${bar + 1} of ${bars}`}>
    <span class="beat-row">${Array.from({ length: beats }, (_, i) => html`<i class=${cls(i === inBar && 'on', i === 0 && 'one')}></i>`)}</span>
    <span class="bar-row">${Array.from({ length: bars }, (_, i) => html`<i class=${cls(i <= bar && 'on')}></i>`)}</span></div>`;
}

export function Tempo() {
  const { bpm, source } = tempoStatus.value;
  return html`<div class="tempo" role="group" aria-label="tempo"><${BeatLights} />
    ${operator.value ? html`<${NumberField} name="tempo" label="tempo in beats a minute" class="bpm" now=${bpm} />` : html`<b>${bpm.toFixed(1)}</b>`}<small>bpm</small>
    ${operator.value ? html`<${Trigger} name="tempo/tap" label="Tap" /><${Trigger} name="tempo/downbeat" label="beat 1 is now" title="a bar begins at the beat nearest to now">Beat 1</${Trigger}>
    <label class="source" title="who keeps the tempo"><small>${source}</small><${Choice} name="tempo/source" label="tempo source" /></label>` : html`<small>${source}</small>`}</div>`;
}
