// Whether the show is fine: at one glance, and in full.

import { cls, computed, html } from './html.js';
import { drawer, line, operator, previewStatus, show, status, version } from './state.js';

/** @typedef {'good' | 'warn' | 'bad'} Grade */

/** @typedef {{grade: Grade, why: string, short: string}} Verdict short: for where there is little room */

/** What is wrong, errors first. @type {import('./vendor/signals.js').ReadonlySignal<Verdict[]>} */
const problems = computed(() => {
  const { world, outputs, inputs, clock } = status.value;
  /** @type {Verdict[]} */
  const found = [];
  /** @param {Grade} grade
   * @param {string} why
   * @param {string} short */
  const add = (grade, why, short) => found.push({ grade, why, short });
  if (['loading', 'starting', 'opening'].includes(world.state)) add('warn', 'the world is being loaded', 'loading');
  else if (world.state && !['running', 'resting'].includes(world.state)) add('bad', `world: ${world.message || world.state}`, 'world');
  else if (world.wanted_fps && world.fps < world.wanted_fps * 0.85) add('warn', `the world makes ${number(world.fps)} of ${number(world.wanted_fps)} frames a second`, 'slow');
  for (const [name, { state, message }] of Object.entries(outputs)) if (state !== 'running')
    add(['error', 'failed', 'stopped'].includes(state) ? 'bad' : 'warn', `${name}: ${message || state}`, name);
  for (const [name, input] of Object.entries(inputs)) if (input?.error) add('warn', `${name}: ${input.error}`, name);
  if (clock.missed && clock.missed > clock.ticks * 0.001) add('warn', `${clock.missed} frames were not sent in time`, 'late');
  return found.sort((a, b) => Number(b.grade === 'bad') - Number(a.grade === 'bad'));
});

/** One grade for the whole show, and why.
 * @type {import('./vendor/signals.js').ReadonlySignal<Verdict>} */
export const grade = computed(() => {
  if (line.value !== 'open') return { grade: 'bad', why: 'no connection', short: '' };
  return problems.value[0] ?? { grade: 'good', why: 'everything runs', short: '' };
});

/** @param {number | undefined} x
 * @param {number} [digits] */
const number = (x, digits = 0) => typeof x === 'number' ? x.toFixed(digits) : '–';

export function Glance() {
  const { world, latency_ms: latency, inputs } = status.value, how = grade.value;
  return html`<button class=${cls('glance', how.grade)} aria-label=${`health: ${how.why}`} title=${`${how.why}: click for more`} aria-expanded=${drawer.value === 'health'}
      onClick=${() => drawer.value = drawer.value === 'health' ? '' : 'health'}>
    <i></i>${line.value === 'open' ? html`<span><b>${number(world.fps, 0)}</b><small>/${number(world.wanted_fps, 0)} fps</small></span>
      <span class="latency"><b>${latency.p50 ? number(latency.p50) : '–'}</b><small>ms</small></span>${how.grade !== 'good' ? html`<span class="why">⚠ ${how.short}</span>` : ''}${['recording', 'streaming'].map(name => inputs.obs?.[name] ? html`<span class="sends" title=${`OBS is ${name}`}>${name === 'recording' ? 'REC' : 'LIVE'}</span>` : '')}` : html`<span>${line.value === 'lost' ? 'no connection' : 'connecting'}</span>`}
  </button>`;
}

/** @param {{rows: [string, any, string?][]}} props */
const Table = ({ rows }) => html`<dl>${rows.map(([name, worth, grade]) => html`<div class=${grade}><dt>${name}</dt><dd>${worth}</dd></div>`)}</dl>`;

/** What the facts of inputs and outputs are called, and their unit. What has no label here is not listed.
 * @type {Record<string, string | [string, string]>} */
const LABELS = {
  address: 'address', url: 'address', device: 'device', source: 'name', monitor: 'monitor', size: 'size', path: 'file', encoder: 'encoder', port: 'port', backend: 'system',
  connections: ['', 'receivers'], clients: ['', 'connected'], peers: ['', 'peers'], bpm: ['', 'bpm'], frames: ['', 'frames'], seconds: ['', 's'], received: ['', 'messages received'],
  messages: ['', 'messages'], controls: ['', 'controls'], malformed: ['', 'not understood'], obs: 'OBS', scene: 'scene', sends: 'is', refused: ['', 'refused'], superseded: ['', 'replaced by a newer value'], restarts: ['', 'restarts'],
};

/** The facts of a status in words.
 * @param {Record<string, any>} facts */
const inWords = facts => [
  facts.error || facts.message || facts.reason || (facts.listening === false || facts.state === 'unavailable' ? 'not available' : ''),
  ...['gamepads', 'ports', 'devices', 'decks'].map(name => Array.isArray(facts[name]) ? facts[name].join(', ') : ''),
  ...Object.entries(facts).map(([name, worth]) => {
    const label = LABELS[name];
    if (label === undefined || (name === 'port' && facts.url) || (name === 'clients' && facts.controls !== undefined) || !['string', 'number'].includes(typeof worth) || !worth) return '';
    const text = typeof worth === 'number' && name !== 'port' ? String(Math.round(worth * 100) / 100) : worth;
    return typeof label === 'string' ? `${label} ${text}` : `${text} ${label[1]}`;
  }),
].filter(Boolean).join(' · ');

/** @type {Record<string, string>} */
const NAMES = { osc: 'OSC', oscquery: 'OSCQuery', midi: 'MIDI', gamepad: 'gamepads', obs: 'OBS', streamdeck: 'Stream Decks', link: 'Ableton Link', surface: 'this page' };

/** @param {Record<string, any>} facts */
const wrong = facts => facts.error ? 'warn' : '';

export function Health() {
  const { world, clock, latency_ms: latency, outputs, inputs, messages, log, tally, surfaces } = status.value, preview = previewStatus.value;
  return html`<div class="health">
    <p class=${cls('verdict', grade.value.grade)}>${grade.value.why}</p>
    <ul class="problems" aria-label="what else is wrong">${problems.value.slice(1).map(({ grade, why }) => html`<li class=${grade}>${why}</li>`)}</ul>
    <h3>World</h3><${Table} rows=${[
      ['state', `${world.state ?? '–'}${world.message ? `: ${world.message}` : ''}`], ['speed', `${number(world.fps, 1)} of ${number(world.wanted_fps, 1)} fps${world.painted_fps ? `, painted ${number(world.painted_fps, 1)}` : ''}`],
      ['model', [world.model || show.value.model, world.runtime].filter(Boolean).join(', ')], ['quality', world.quality ?? '–'], ['restarts', number(world.restarts)],
      ['preview', `${preview.state}${preview.fps ? `, ${number(preview.fps, 1)} fps` : ''}${preview.message ? `: ${preview.message}` : ''}`],
    ]} />
    <h3>Time</h3><${Table} rows=${[
      ['control to frame', latency.p50 ? `${number(latency.p50)} ms; 95% within ${number(latency.p95)} ms` : 'no control yet'], ['frames sent', `${number(clock.ticks)}, of these ${number(clock.late)} late; ${number(clock.missed)} missed`],
      ['at most late by', `${number(clock.worst_ms, 1)} ms`], ['picture', `${String(show.value.size).replace(/[,x]/, '×')}, ${show.value.fps} fps`], ['on air', ({ program: 'yes', preview: 'next', off: 'no' })[tally] ?? tally],
    ]} />
    <h3>Outputs</h3>${!Object.keys(outputs).length && html`<p class="faint">none</p>`}<${Table} rows=${Object.entries(outputs).map(([name, output]) => [name, html`<b>${output.state}</b> ${inWords({ ...output.facts, message: output.message })}`, output.state === 'running' ? '' : 'warn'])} />
    <h3>Inputs</h3><${Table} rows=${[...Object.entries(inputs).map(([name, input]) => /** @type {[string, any, string]} */ ([NAMES[name] ?? name, inWords(input ?? {}) || (input?.joined === false ? 'not joined' : 'ready'), wrong(input ?? {})])).sort((a, b) => Number(Boolean(b[2])) - Number(Boolean(a[2]))), ['pages open', number(surfaces)]]} />
    <h3>Messages</h3><ol class="messages">${[...messages].reverse().map(({ at, text }) => html`<li><time>${new Date(at * 1000).toLocaleTimeString([], { hour12: false })}</time> ${text}</li>`)}
      ${!messages.length && html`<li class="faint">none</li>`}</ol>
    ${operator.value && log && html`<p class="log">log file <code>${log}</code></p>`}<p class="faint">worldjockey ${version.value}</p></div>`;
}
