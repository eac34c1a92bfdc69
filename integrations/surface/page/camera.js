// The camera: two XY pads and a zoom strip that spring back, since the camera moves for as long as they are off centre.

import { cls, html, useRef } from './html.js';
import { hold, press, set, unhold } from './socket.js';
import { grab, kept, onBus, operator, parameter, value } from './state.js';
import { clamp, figures, mapped, Trigger } from './widgets.js';

const latch = kept('latch', false);

/** A camera that is pushed springs back, unless it is to keep what was set.
 * @param {string} name */
const push = name => latch.value ? grab(name) : hold(name, 0);

/** @param {number} x */
const centred = x => Math.abs(x) < 0.04 ? 0 : x;

/** A pad of two parameters, each -1..1.
 * @param {{x: string, y: string, label: string}} props */
function XY({ x, y, label }) {
  const nx = onBus(x), ny = onBus(y), atX = Number(value(nx).value) || 0, atY = Number(value(ny).value) || 0;
  const finger = useRef(/** @type {number | null} */ (null));
  if (!parameter(nx) || !parameter(ny)) return null;
  /** @param {PointerEvent} event */
  function put(event) {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    set(nx, centred(clamp(((event.clientX - box.left) / box.width) * 2 - 1, -1, 1)));
    set(ny, centred(clamp(1 - ((event.clientY - box.top) / box.height) * 2, -1, 1)));
  }
  /** @param {PointerEvent} event */
  function down(event) {
    if (event.button || finger.current !== null || !operator.value) return;
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    finger.current = event.pointerId;
    push(nx);
    push(ny);
    put(event);
  }
  /** @param {PointerEvent} event */
  function up(event) {
    if (finger.current !== event.pointerId) return;
    finger.current = null;
    if (!latch.value) {
      set(nx, 0);
      set(ny, 0);
    }
    unhold(nx);
    unhold(ny);
  }
  /** @param {KeyboardEvent} event */
  function key(event) {
    const step = event.shiftKey ? 0.02 : 0.1;
    /** @type {Record<string, [string, number]>} */
    const to = { ArrowLeft: [nx, atX - step], ArrowRight: [nx, atX + step], ArrowDown: [ny, atY - step], ArrowUp: [ny, atY + step] };
    if (event.key in to) press(to[event.key][0], clamp(Math.round(to[event.key][1] * 100) / 100, -1, 1));
    else if (event.key === 'Delete' || event.key === 'Enter') {
      press(nx, 0);
      press(ny, 0);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  return html`<div class=${cls('xy', (atX || atY) && 'moved')} role="slider" tabindex="0" aria-label=${label} aria-valuemin="-1" aria-valuemax="1" aria-valuenow=${atX}
      aria-valuetext=${`${x.split('/')[1]} ${figures(atX, 1)}, ${y.split('/')[1]} ${figures(atY, 1)}`} style=${{ '--x': (atX + 1) / 2, '--y': (1 - atY) / 2 }}
      onPointerDown=${down} onPointerMove=${(/** @type {PointerEvent} */ event) => { if (finger.current === event.pointerId) put(event); }}
      onPointerUp=${up} onPointerCancel=${up} onKeyDown=${key}>
    <i class="line-x"></i><i class="line-y"></i><i class="dot"></i>
    <span class="label">${x.split('/')[1]} · ${y.split('/')[1]}</span>
    <output>${figures(atX, 1)}<br />${figures(atY, 1)}</output>
    <span class="axis x" ...${mapped(nx)}></span><span class="axis y" ...${mapped(ny)}></span>
  </div>`;
}

/** A strip whose middle is rest. */
function Zoom() {
  const name = onBus('cam/zoom'), at = Number(value(name).value) || 0, finger = useRef(/** @type {number | null} */ (null)), timer = useRef(0);
  if (!parameter(name)) return null;
  /** @param {PointerEvent} event */
  const put = event => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    set(name, centred(clamp(1 - ((event.clientY - box.top) / box.height) * 2, -1, 1)));
  };
  /** @param {PointerEvent} event */
  const up = event => {
    if (finger.current !== event.pointerId) return;
    finger.current = null;
    if (!latch.value) set(name, 0);
    unhold(name);
  };
  return html`<div class=${cls('zoom', at && 'moved')} role="slider" tabindex="0" aria-label="zoom" aria-orientation="vertical" aria-valuemin="-1" aria-valuemax="1" aria-valuenow=${at}
      aria-valuetext=${figures(at, 1)} style=${{ '--y': (1 - at) / 2 }} ...${mapped(name)}
      onPointerDown=${(/** @type {PointerEvent} */ event) => {
        if (event.button || finger.current !== null || !operator.value) return;
        /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
        finger.current = event.pointerId;
        push(name);
        put(event);
      }} onPointerMove=${(/** @type {PointerEvent} */ event) => { if (finger.current === event.pointerId) put(event); }} onPointerUp=${up} onPointerCancel=${up}
      onWheel=${(/** @type {WheelEvent} */ event) => {
        event.preventDefault();
        push(name);
        set(name, clamp((Number(value(name).peek()) || 0) - Math.sign(event.deltaY) * 0.15, -1, 1));
        clearTimeout(timer.current);
        timer.current = window.setTimeout(() => { if (!latch.value) set(name, 0); unhold(name); }, 250);
      }}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        const by = /** @type {Record<string, number>} */ ({ ArrowUp: 0.1, ArrowRight: 0.1, ArrowDown: -0.1, ArrowLeft: -0.1 })[event.key];
        if (by === undefined && event.key !== 'Delete') return;
        press(name, by === undefined ? 0 : clamp(Math.round((at + by) * 100) / 100, -1, 1));
        event.preventDefault();
        event.stopPropagation();
      }}><i class="dot"></i><span class="label">zoom</span></div>`;
}

export function Camera() {
  return html`<div class="camera"><${XY} x="cam/strafe" y="cam/forward" label="camera: strafe and forward" />
    <${XY} x="cam/yaw" y="cam/pitch" label="camera: yaw and pitch" /><${Zoom} /></div>`;
}

export function CameraBar() {
  return html`<span class="end"></span><button class="button toggle" aria-pressed=${latch.value} disabled=${!operator.value} title="keep what was set, instead of springing back"
    onClick=${() => latch.value = !latch.value}>hold</button><${Trigger} name="cam/home" label="home" />`;
}
