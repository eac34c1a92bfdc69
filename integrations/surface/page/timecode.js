// Timecode: where it is, whether the show follows it, and the time of each cue.

import { cls, html, signal, useEffect, useRef, useState } from './html.js';
import { ask, fire } from './socket.js';
import { cueStatus, editable, operator, part, show, status, statusAt } from './state.js';
import { Toggle } from './widgets.js';

/** All that stays the same while the timecode runs. */
const facts = part(({ timecode }) => timecode && { ...timecode, now: '', seconds: 0, next: timecode.next && { ...timecode.next, seconds: 0 } });
/** The cue that a stamp gives the present time. @type {import('./vendor/signals.js').Signal<number | null>} */
const chosen = signal(null);
const WORDS = /** @type {Record<string, string>} */ ({ waiting: 'none yet', locked: 'locked', freewheel: 'lost: freewheels', stopped: 'stopped', running: 'running' });
const NAMES = /** @type {Record<string, string>} */ ({ mtc: 'MTC', ltc: 'LTC', internal: 'own clock' });

/** @param {number} n */
const two = n => String(n).padStart(2, '0');

/** The label of a time, as the show itself writes it (timing/timecode.py).
 * @param {number} seconds
 * @param {{real: number, frames: number, drop: boolean}} rate */
export function label(seconds, { real, frames, drop }) {
  let number = Math.floor(seconds * real + 1e-3);
  if (drop) {
    const ten = frames * 600 - 18, one = frames * 60 - 2, tens = Math.floor(number / ten), rest = number - tens * ten;
    number += 18 * tens + (rest > 2 ? 2 * Math.floor((rest - 2) / one) : 0);
  }
  const day = 86400 * frames;
  number = ((number % day) + day) % day;
  const whole = Math.floor(number / frames);
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${drop ? ';' : ':'}${two(number % frames)}`;
}

/** Seconds of the timecode now, counted on from the newest status. */
function seconds() {
  const { timecode } = status.peek();
  return timecode ? timecode.seconds + (Math.min(performance.now() - statusAt, 1000) / 1000) * timecode.speed : 0;
}

function Digits() {
  const text = useRef(/** @type {any} */ (null)), left = useRef(/** @type {any} */ (null));
  useEffect(() => {
    let frame = 0;
    const draw = () => {
      const { timecode } = status.peek();
      if (timecode) {
        const here = seconds(), next = timecode.next && timecode.cues[timecode.next.index];
        text.current.textContent = timecode.state === 'waiting' ? '--:--:--:--' : label(here, timecode);
        left.current.textContent = next ? `in ${Math.max(next.seconds - here, 0).toFixed(1)} s` : '';
      }
      frame = requestAnimationFrame(draw);
    };
    draw();
    return () => cancelAnimationFrame(frame);
  }, []);
  const { next } = facts.value ?? {};
  return html`<output class="digits" ref=${text} aria-label="timecode"></output>
    <p class="next">${next ? html`next <b>${show.value.cues[next.index]?.name ?? ''}</b> ${next.at} ` : 'no cue comes after this '}<span ref=${left}></span></p>`;
}

/** @param {{index: number, time?: {label: string, seconds: number}}} props */
function Row({ index, time }) {
  const cue = show.value.cues[index], [text, setText] = useState(/** @type {string | null} */ (null));
  const save = async () => {
    if (text !== null && text.trim() !== (cue.at ?? '')) await ask('cue/edit', { index, was: cue.name, fields: { at: text.trim() || null } });
    setText(null);
  };
  return html`<li class=${cls(cueStatus.value.now === index && 'now', chosen.value === index && 'chosen')}>
    <button class="text" aria-pressed=${chosen.value === index} disabled=${!editable.value} onClick=${() => chosen.value = chosen.value === index ? null : index}>${index + 1} ${cue.name}</button>
    ${editable.value ? html`<input type="text" aria-label=${`timecode of ${cue.name}`} placeholder="none" spellcheck=${false} value=${text ?? cue.at ?? ''}
      onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} onBlur=${save}
      onKeyDown=${(/** @type {any} */ event) => { if (event.key === 'Enter') event.currentTarget.blur(); if (event.key === 'Escape') setText(null); }} />` : html`<span>${cue.at ?? ''}</span>`}
    ${operator.value && html`<button class="button icon" aria-label=${`be at ${cue.name}`} title="be there: the show as it is at that time" disabled=${!time} onClick=${() => time && fire('timecode/goto', time.label)}>⇥</button>`}</li>`;
}

function GoTo() {
  const [text, setText] = useState('');
  return html`<form class="row" onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); if (text.trim()) fire('timecode/goto', text.trim()); setText(''); }}>
    <input type="text" aria-label="go to timecode" placeholder="01:00:12:05" spellcheck=${false} value=${text} onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} />
    <button class="button" title="the show as it is at that time, at once">Go to</button></form>`;
}

export function Timecode() {
  const now = facts.value, { cues } = show.value;
  if (!now) return html`<div class="timecode"><p>This show follows no timecode. Add to its file:</p><pre>timecode: {source: mtc, rate: 25}</pre>
    <p class="faint">and give cues a time, as in <code>at: 01:00:12:05</code>. source: ltc listens to an audio input, internal runs by itself.</p></div>`;
  const error = status.value.inputs.timecode?.error || status.value.inputs['timecode out']?.error || now.message;
  const selected = chosen.value !== null && chosen.value < cues.length ? chosen.value : null;
  return html`<div class="timecode"><${Digits} />
    <p class="facts"><b class=${cls('lock', now.state)}>${WORDS[now.state] ?? now.state}</b> ${NAMES[now.source] ?? now.source}${now.from && ` from ${now.from}`} · ${now.rate} a second${now.drop ? ', drop frame' : ''}${now.speed && now.speed !== 1 ? ` · ${now.speed.toFixed(1)}x` : ''}</p>
    ${error && html`<p class="warn">${error}</p>`}
    ${operator.value && html`<div class="row"><${Toggle} name="timecode/chase" label="Chase" />${now.source === 'internal' && html`<${Toggle} name="timecode/run" label="Run" />`}<${GoTo} /></div>`}
    <ol>${cues.map((_, index) => html`<${Row} key=${index} index=${index} time=${now.cues[index]} />`)}</ol>
    ${editable.value && html`<button class="button primary" aria-disabled=${selected === null || undefined} title="choose a cue first; its time becomes now"
      onClick=${() => { if (selected !== null) ask('cue/stamp', { index: selected, was: cues[selected].name }); }}>Stamp${selected === null ? '' : `: ${cues[selected].name} is now`}</button>`}</div>`;
}
