// Whether the show is fine: at one glance, and in full.

import { cls, computed, html } from './html.js';
import { drawer, line, operator, previewStatus, show, status, version } from './state.js';

/** @typedef {'good' | 'warn' | 'bad'} Grade */

/** One grade for the whole show, and why.
 * @type {import('./vendor/signals.js').ReadonlySignal<{grade: Grade, why: string}>} */
export const grade = computed(() => {
  if (line.value !== 'open') return { grade: 'bad', why: 'no connection' };
  const { world, outputs, clock } = status.value;
  if (['loading', 'starting', 'opening'].includes(world.state)) return { grade: 'warn', why: 'the world is being loaded' };
  if (world.state && !['running', 'resting'].includes(world.state)) return { grade: 'bad', why: `world: ${world.message || world.state}` };
  const failed = Object.entries(outputs).filter(([, output]) => ['error', 'failed', 'stopped'].includes(output.state));
  if (failed.length) return { grade: 'bad', why: `${failed[0][0]}: ${failed[0][1].message || failed[0][1].state}` };
  if (world.wanted_fps && world.fps < world.wanted_fps * 0.85) return { grade: 'warn', why: 'the world is slower than it should be' };
  const waiting = Object.entries(outputs).filter(([, output]) => output.state !== 'running');
  if (waiting.length) return { grade: 'warn', why: `${waiting[0][0]}: ${waiting[0][1].message || waiting[0][1].state}` };
  if (clock.missed && clock.missed > clock.ticks * 0.001) return { grade: 'warn', why: `${clock.missed} ticks missed` };
  return { grade: 'good', why: 'everything runs' };
});

/** @param {number | undefined} x
 * @param {number} [digits] */
const number = (x, digits = 0) => typeof x === 'number' ? x.toFixed(digits) : '–';

export function Glance() {
  const { world, latency_ms: latency } = status.value, how = grade.value;
  return html`<button class=${cls('glance', how.grade)} aria-label=${`health: ${how.why}`} title=${how.why} aria-expanded=${drawer.value === 'health'}
      onClick=${() => drawer.value = drawer.value === 'health' ? '' : 'health'}>
    <i></i>${line.value === 'open' ? html`<span><b>${number(world.fps, 0)}</b><small>/${number(world.wanted_fps, 0)} fps</small></span>
      <span class="latency"><b>${latency.p50 ? number(latency.p50) : '–'}</b><small>ms</small></span>${how.grade !== 'good' ? html`<span class="why">${how.why}</span>` : ''}` : html`<span>${line.value === 'lost' ? 'no connection' : 'connecting'}</span>`}
  </button>`;
}

/** @param {{rows: [string, any, string?][]}} props */
const Table = ({ rows }) => html`<dl>${rows.map(([name, worth, grade]) => html`<div class=${grade}><dt>${name}</dt><dd>${worth}</dd></div>`)}</dl>`;

/** The facts of a status in one line.
 * @param {Record<string, any>} facts */
const inShort = facts => Object.entries(facts).filter(([, worth]) => ['string', 'number', 'boolean'].includes(typeof worth) && worth)
  .map(([name, worth]) => `${name} ${typeof worth === 'number' ? Math.round(worth * 100) / 100 : worth}`).join(' · ');

export function Health() {
  const { world, clock, latency_ms: latency, outputs, inputs, messages, log, tally, surfaces } = status.value, preview = previewStatus.value;
  return html`<div class="health">
    <p class=${cls('verdict', grade.value.grade)}>${grade.value.why}</p>
    <h3>World</h3><${Table} rows=${[
      ['state', `${world.state ?? '–'}${world.message ? `: ${world.message}` : ''}`], ['rate', `${number(world.fps, 1)} of ${number(world.wanted_fps, 1)} fps`],
      ['model', [world.model || show.value.model, world.runtime].filter(Boolean).join(', ')], ['quality', world.quality ?? '–'], ['restarts', number(world.restarts)],
      ['preview', `${preview.state}${preview.fps ? `, ${number(preview.fps, 1)} fps` : ''}${preview.message ? `: ${preview.message}` : ''}`],
    ]} />
    <h3>Time</h3><${Table} rows=${[
      ['control to frame', latency.p50 ? `${number(latency.p50)} ms, p95 ${number(latency.p95)} ms` : 'no control yet'], ['ticks', number(clock.ticks)], ['late, missed', `${number(clock.late)}, ${number(clock.missed)}`],
      ['worst', `${number(clock.worst_ms, 1)} ms`], ['sent', `${String(show.value.size).replace(/[,x]/, '×')}, ${show.value.fps} fps`], ['tally', tally],
    ]} />
    <h3>Outputs</h3><${Table} rows=${Object.entries(outputs).map(([name, output]) => [name, html`<b>${output.state}</b> ${output.message || inShort(output.facts ?? {})}`, output.state === 'running' ? '' : 'warn'])} />
    <h3>Inputs</h3><${Table} rows=${[...Object.entries(inputs).map(([name, input]) => /** @type {[string, any]} */ ([name, inShort(input ?? {})])), ['surfaces', number(surfaces)]]} />
    <h3>Messages</h3><ol class="messages">${[...messages].reverse().map(({ at, text }) => html`<li><time>${new Date(at * 1000).toLocaleTimeString([], { hour12: false })}</time> ${text}</li>`)}
      ${!messages.length && html`<li class="faint">none</li>`}</ol>
    ${operator.value && log && html`<p class="log">log file <code>${log}</code></p>`}<p class="faint">worldjockey ${version.value}</p></div>`;
}
