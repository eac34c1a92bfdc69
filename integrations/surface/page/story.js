// The story: where it is, what presses it onwards, and how the performer overrules it.

import { cls, html } from './html.js';
import { fire, press, set } from './socket.js';
import { operator, part, value } from './state.js';
import { mapped, Slider } from './widgets.js';

/** @typedef {{to: string, pressure: number}} Way */
/** @typedef {{name: string, ways: string[]}} Scene */

const story = part(status => /** @type {any} */ (status).story ?? null);

export function Story() {
  const now = story.value;
  if (!now) return html`<div class="story"><p>This show tells no story. <code>examples/interactive_cinema</code> is one.</p></div>`;
  const can = operator.value;
  /** @type {Record<string, number>} */
  const pressures = Object.fromEntries(now.ways.map((/** @type {Way} */ way) => [way.to, way.pressure]));
  return html`<div class="story">
    ${can && html`<div class="row"><button class="button toggle" aria-pressed=${Boolean(value('story/on').value)} onClick=${() => press('story/on', !value('story/on').value)} ...${mapped('story/on')}>${now.on ? 'Telling' : 'Begin'}</button>
      <button class="button toggle" aria-pressed=${Boolean(value('story/hold').value)} disabled=${!now.on} onClick=${() => press('story/hold', !value('story/hold').value)} ...${mapped('story/hold')}>Hold</button>
      <button class="button" disabled=${!now.on || !now.ways.length} onClick=${() => fire('story/go')} ...${mapped('story/go')}>Go on</button></div>`}
    <p class="now"><b>${now.scene}</b><span class="faint">${now.ended ? 'the end' : now.changing ? 'arriving' : `${Math.round(now.seconds)} s of ${now.least} to ${now.most}`}</span></p>
    <progress max=${now.most} value=${Math.min(now.seconds, now.most)} aria-label="time in the scene"></progress>
    <h3>Balances</h3>${Object.entries(now.balances).map(([name, worth], index) => html`<div class="balance"><${Slider} label=${name} now=${worth} low=${0} high=${1} step=${0.01} text=${Number(worth).toFixed(2)}
      onInput=${(/** @type {number} */ x) => set(`story/balance/${index + 1}`, x)} /></div>`)}
    <h3>Scenes</h3><ol>${now.scenes.map((/** @type {Scene} */ scene) => html`<li class=${cls(scene.name === now.scene && 'here', scene.name in pressures && 'next')}>
      <span>${scene.name}</span>${scene.name in pressures ? html`<meter min="0" max="1" value=${pressures[scene.name]} aria-label=${`pressure towards ${scene.name}`}></meter>` : html`<small>${scene.ways.length ? `to ${scene.ways.join(', ')}` : 'the end'}</small>`}
      ${can && html`<button class="button" disabled=${!now.on || scene.name === now.scene} onClick=${() => fire('story/go', scene.name)}>Go</button>`}</li>`)}</ol>
    ${now.touched.length > 0 && html`<p class="faint">Yours until the next scene: ${now.touched.join(', ')} ${can && html`<button class="button" onClick=${() => fire('story/back')}>Give back</button>`}</p>`}</div>`;
}
