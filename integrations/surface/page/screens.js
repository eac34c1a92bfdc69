// Program and preview side by side, and between them what carries the one to the other.

import { cls, effect, html, useEffect, useRef, useState } from './html.js';
import { fire, press } from './socket.js';
import { bus, kept, mapMode, operator, parameter, part, previewStatus, say, status, tempoStatus, value } from './state.js';
import { watch } from './video.js';
import { mapped, Slider } from './widgets.js';

/** @param {{which: 'program' | 'preview'}} props */
export function Screen({ which }) {
  const stage = useRef(/** @type {any} */ (null));
  const [picture, setPicture] = useState(/** @type {import('./video.js').Picture | null} */ (null));
  const preview = previewStatus.value;
  const wanted = which === 'program' || ['running', 'resting'].includes(preview.state);
  useEffect(() => {
    if (!wanted) return setPicture(null);
    return watch(which, stage.current, setPicture);
  }, [wanted, which]);
  const program = which === 'program';
  return html`<section class=${cls('screen', which, bus.value === which && 'aimed', !picture && 'waiting')} aria-label=${which}>
    <header><b>${which}</b>${program ? html`<${ProgramFacts} />` : html`<span>${preview.state === 'running' ? `${Math.round(preview.fps)} fps` : preview.state}</span>`}
      <span class="end faint">${picture ? `${picture.width}×${picture.height} ${picture.way}` : ''}</span></header>
    <div class="stage" ref=${stage} data-way=${picture?.way}></div>
    ${!picture && html`<${Empty} program=${program} />`}
  </section>`;
}

function ProgramFacts() {
  const tally = status.value.tally;
  return html`<span class=${cls('tally', tally)}>${tally === 'program' ? 'ON AIR' : tally === 'preview' ? 'NEXT' : ''}</span>`;
}

/** @param {{program: boolean}} props */
function Empty({ program }) {
  const { state, message } = previewStatus.value;
  if (program) return html`<p class="empty">waiting for the program</p>`;
  /** @type {Record<string, string>} */
  const why = {
    off: 'Prepare what comes next without anybody seeing it.', opening: 'the preview opens', running: 'waiting for the preview',
    resting: 'the preview rests: the program needs the machine', 'too large': 'This world is too large to open twice.', error: 'the preview failed',
  };
  return html`<div class="empty"><p>${message || why[state] || state}</p>
    ${state === 'off' && operator.value && parameter('preview/on') && html`<button class="button" onClick=${() => press('preview/on', true)}>Open preview</button>`}</div>`;
}

const fade = kept('fade', 2);
/** @type {import('./vendor/signals.js').Signal<'s' | 'beats'>} */
const fadeUnit = kept('fadeUnit', 's');
const fadeText = () => fadeUnit.value === 's' ? `${fade.value.toFixed(1)} s` : `${fade.value.toFixed(fade.value % 1 ? 1 : 0)} ${fade.value === 1 ? 'beat' : 'beats'}`;
const fadeSeconds = () => fadeUnit.value === 's' ? fade.value : (fade.value * 60) / (tempoStatus.value.bpm || 120);

/** The states in which there is something to take: it is prepared even while its picture rests, or cannot be shown. */
const READY = ['running', 'resting', 'too large'];

/** Take, swap back, copy; and which bus the controls play. */
export function Take() {
  if (!operator.value || !parameter('preview/take')) return null;
  const { state } = previewStatus.value, ready = READY.includes(state), off = !ready && !mapMode.value;
  return html`<section class="take" aria-label="take">
    <button class="button big" disabled=${off} onClick=${() => fire('preview/take', fadeSeconds())} ...${mapped('preview/take')}>
      <b>TAKE</b><small>${state === 'opening' ? 'opening…' : ready || state === 'off' ? fade.value ? `fade ${fadeText()}` : 'cut' : state}</small></button>
    <${Slider} label="fade" now=${fade.value} low=${0} high=${fadeUnit.value === 's' ? 10 : 16} step=${fadeUnit.value === 's' ? 0.5 : 1} text=${fadeText()}
      onInput=${(/** @type {number} */ x) => fade.value = x} />
    <div class="segments" role="group" aria-label="fade in">${/** @type {('s' | 'beats')[]} */ (['s', 'beats']).map(unit => html`<button aria-pressed=${fadeUnit.value === unit}
      aria-label=${unit === 's' ? 'seconds' : 'beats'} onClick=${() => fadeUnit.value = unit}>${unit}</button>`)}</div>
    <button class="button" disabled=${off} onClick=${() => fire('preview/take', 0)} title="take without a fade">Cut</button>
    <button class="button" disabled=${off} onClick=${() => fire('preview/back', fadeSeconds())} title="what was on air before" ...${mapped('preview/back')}>Swap back</button>
    <button class="button" disabled=${off} onClick=${() => fire('preview/copy')} title="the preview becomes what the program is now"
      ...${mapped('preview/copy')}>Copy</button>
    <button class="button toggle" aria-pressed=${Boolean(value('preview/on').value)} onClick=${() => press('preview/on', !value('preview/on').value)}
      title="whether the preview's world runs" ...${mapped('preview/on')}>Preview</button>
  </section>`;
}

const previewState = part(status => status.preview.state);
let before = '';
effect(() => { // controls that are aimed at a preview that is gone would play nothing
  const state = previewState.value, closed = state === 'off' || state === 'error';
  if (closed && before !== state && !['', 'off'].includes(before) && bus.peek() === 'preview') {
    bus.value = 'program';
    say(`The preview ${state === 'off' ? 'is closed' : 'failed'}: the controls play the program`);
  }
  before = state;
});

/** Which bus the controls play: "blind" is the preview. */
export function Bus() {
  if (!operator.value) return null;
  return html`<div class="segments bus" role="group" aria-label="the controls play">
    ${/** @type {('program' | 'preview')[]} */ (['program', 'preview']).map(which => html`<button class=${which} aria-pressed=${bus.value === which}
      title=${which === 'preview' ? 'blind: all controls play the preview' : 'all controls play what is on air'}
      onClick=${() => {
        bus.value = which;
        if (which === 'preview' && previewStatus.value.state === 'off') press('preview/on', true);
      }}>${which}</button>`)}</div>`;
}
