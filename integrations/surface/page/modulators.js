// Eight modulators and their moving waves.

import { cls, html, signal, useEffect, useRef } from './html.js';
import { present } from './sound.js';
import { beatNow, operator, parameters, value } from './state.js';
import { Choice, Fader, TextField, Trigger } from './widgets.js';

const chosen = signal(1);

/** A wave's height, -1..1, at a phase in cycles (node/timing/oscillators.py has the show's own).
 * @param {string} shape
 * @param {number} phase */
export function wave(shape, phase) {
  const x = phase - Math.floor(phase);
  /** @param {number} n */
  const random = n => { const r = Math.sin(n * 127.1 + 311.7) * 43758.5453; return (r - Math.floor(r)) * 2 - 1; };
  switch (shape) {
    case 'triangle': return 1 - 4 * Math.abs(((x + 0.75) % 1) - 0.5);
    case 'saw': return 2 * x - 1;
    case 'square': return x < 0.5 ? 1 : -1;
    case 'sample-and-hold': return random(Math.floor(phase));
    case 'random': {
      const from = Math.floor(phase), smooth = x * x * (3 - 2 * x);
      return random(from) * (1 - smooth) + random(from + 1) * smooth;
    }
    case 'envelope': return x < 0.08 ? (x / 0.08) * 2 - 1 : 2 * Math.exp(-(x - 0.08) * 5) - 1;
    default: return Math.sin(2 * Math.PI * x);
  }
}

/** Two cycles of a wave, and the point where it is now.
 * @param {{n: number}} props */
function Wave({ n }) {
  const canvas = useRef(/** @type {any} */ (null));
  useEffect(() => {
    const box = /** @type {HTMLCanvasElement} */ (canvas.current), pen = /** @type {CanvasRenderingContext2D} */ (box.getContext('2d'));
    let frame = 0, count = 0;
    const draw = () => {
      frame = requestAnimationFrame(draw);
      if (count++ % (value(`mod/${n}/to`).peek() ? 2 : 30)) return; // what moves nothing is drawn seldom
      const scale = devicePixelRatio, width = Math.round(box.clientWidth * scale), height = Math.round(box.clientHeight * scale);
      if (!width) return;
      if (box.width !== width || box.height !== height) [box.width, box.height] = [width, height];
      /** @param {string} what */
      const of = what => value(`mod/${n}/${what}`).peek();
      const shape = String(of('shape')), beats = Number(of('beats')), depth = Number(of('depth')), offset = Number(of('offset'));
      const phase = beats > 0 ? beatNow() / beats : (performance.now() / 1000) * Number(of('rate')), live = depth !== 0 && of('to');
      pen.clearRect(0, 0, width, height);
      const style = getComputedStyle(box);
      pen.strokeStyle = live ? style.getPropertyValue('--accent') : '#454b54';
      pen.lineWidth = 1.5 * scale;
      /** @param {number} at */
      const y = at => height / 2 - (Math.max(-1, Math.min(1, wave(shape, at) * Math.sign(depth || 1) + offset)) * (height / 2 - 3 * scale));
      pen.beginPath();
      for (let x = 0; x <= width; x += scale) pen[x ? 'lineTo' : 'moveTo'](x, y(phase + (x / width - 0.5) * 2));
      pen.stroke();
      if (!live || shape === 'envelope') return;
      pen.fillStyle = '#fff';
      pen.beginPath();
      pen.arc(width / 2, y(phase), 2.5 * scale, 0, 7);
      pen.fill();
    };
    draw();
    return () => cancelAnimationFrame(frame);
  }, [n]);
  return html`<canvas class="wave" ref=${canvas} aria-hidden="true"></canvas>`;
}

const count = () => [...parameters.value.keys()].filter(name => /^mod\/\d+\/shape$/.test(name)).length;

export function Modulators() {
  const n = chosen.value;
  return html`<div class="modulators">
    <div class="waves" role="group" aria-label="modulators">${Array.from({ length: count() }, (_, i) => {
      const to = String(value(`mod/${i + 1}/to`).value || ''), live = to && Number(value(`mod/${i + 1}/depth`).value);
      return html`<button class=${cls('modulator', live && 'live')} aria-pressed=${n === i + 1} aria-label=${`modulator ${i + 1}${to ? ` moves ${to}` : ''}`} onClick=${() => chosen.value = i + 1}>
        <${Wave} n=${i + 1} /><span class="label">${i + 1} <small>${to || '–'}</small></span>
        ${live ? html`<output>${to.split(/, */).map(present).join(' · ')}</output>` : ''}</button>`;
    })}</div>
    ${operator.value && html`<div class="modulator-edit" role="group" aria-label=${`modulator ${n}`}>
      <label class="to"><small>to</small><${TextField} name=${`mod/${n}/to`} label=${`faders that modulator ${n} moves`} /></label>
      <${Choice} name=${`mod/${n}/shape`} label="shape" /><${Fader} name=${`mod/${n}/depth`} /><${Fader} name=${`mod/${n}/beats`} high=${64} />
      <${Fader} name=${`mod/${n}/rate`} /><${Fader} name=${`mod/${n}/offset`} /><${Trigger} name=${`mod/${n}/fire`} /></div>`}
  </div>`;
}
