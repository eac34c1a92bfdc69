// The widgets that parameters are played with. Each takes a parameter's name, knows its range from the table, and obeys ten
// fingers (pointer events), the keyboard and screen readers alike.

import { cls, html, useRef, useState } from './html.js';
import { fire, press, set } from './socket.js';
import { bus, grab, learning, letGo, mapMode, onBus, operator, parameter, pickups, show, value } from './state.js';

/** @param {number} x
 * @param {number} low
 * @param {number} high */
export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/** A number in as many digits as its range needs.
 * @param {number} x
 * @param {number} span */
export function figures(x, span) {
  if (!Number.isFinite(x)) return '';
  const text = x.toFixed(span > 100 ? 0 : span > 10 ? 1 : 2);
  return text.replace(/^-(0(\.0*)?)$/, '$1').replace('-', '−');
}

/** The name that is read out and shown where no label is given: cam/yaw is "yaw".
 * @param {string} name */
export const shortName = name => name.replace(/^preview\//, '').split('/').slice(-1)[0];

/** A value in words: a number in as many digits as its range needs.
 * @param {string} name
 * @param {any} worth */
export const written = (name, worth) => typeof worth === 'number' ? figures(worth, (parameter(name)?.high ?? 1) - (parameter(name)?.low ?? 0)) : String(worth ?? '');

/** What a controller's fader waits for that does not play its parameter yet, in words; empty where none waits.
 * @param {string} name whole, with its bus
 * @param {string} [text] of one map alone */
export function waits(name, text) {
  const fader = pickups.value.find(one => one.to === name && (text === undefined || one.text === text));
  return fader ? `${text === undefined ? `${fader.text} ` : ''}stands at ${written(name, fader.at)}: turn it to ${written(name, value(name).value)} to pick up` : '';
}

/** What Map mode needs to know of an element: its parameter, and what is mapped to it.
 * @param {string} name whole, with its bus
 * @param {boolean} [badge] whether its sources are shown here; false where another element of the same parameter shows them */
export function mapped(name, badge = true) {
  if (!mapMode.value) return {};
  const maps = show.value.maps.filter(map => map.kind !== 'key' && map.to.split(' ', 1)[0] === name);
  const keys = Object.entries(show.value.keys).filter(([, to]) => to === name || to.startsWith(`${name} `)).map(([key]) => keyName(key));
  const sources = [...maps.map(map => map.text), ...keys].join(' · '), waiting = waits(name);
  return {
    'data-map': name,
    'data-sources': badge && sources || undefined,
    'data-waits': waiting ? '' : undefined,
    title: [`${name}: ${sources || 'click to map it'}`, waiting].filter(Boolean).join('\n'),
    'data-learning': learning.value?.to === name ? '' : undefined,
  };
}

/** @param {string} key as the show has it
 * @returns {string} */
export function keyName(key) {
  /** @type {Record<string, string>} */
  const names = {
    ' ': 'Space', arrowleft: '←', arrowright: '→', arrowup: '↑', arrowdown: '↓', escape: 'Esc', backspace: '⌫', delete: 'Del', enter: '↵',
    pageup: 'PgUp', pagedown: 'PgDn', home: 'Home', end: 'End', tab: 'Tab',
  };
  if (key.startsWith('shift+')) return `⇧${keyName(key.slice(6))}`;
  return names[key.toLowerCase()] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** A slider of anything, horizontal or vertical. The finger sets its value where it is; with Shift it moves ten times finer.
 * base: where its filling begins. rest: where a double click takes it. ghost: where a controller's fader stands that waits to pick it up.
 * @param {{label: string, now: number, low: number, high: number, base?: number, rest?: number, ghost?: number, step?: number, vertical?: boolean, unit?: string,
 *   text?: string, title?: string, off?: boolean, class?: string, onInput: (x: number) => void, onGrab?: () => void,
 *   onRelease?: () => void, extra?: Record<string, any>}} props */
export function Slider(props) {
  const { label, now, low, high, base = low < 0 ? 0 : low, rest = base, step = 0, vertical = false } = props;
  const span = high - low, drag = useRef(/** @type {null | {id: number, at: number, from: number}} */ (null));
  /** @param {number} x */
  const put = x => props.onInput(clamp(step ? Math.round(x / step) * step : x, low, high));
  /** @param {PointerEvent} event */
  function along(event) {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    return vertical ? (box.bottom - event.clientY) / box.height : (event.clientX - box.left) / box.width;
  }
  /** @param {PointerEvent} event */
  function down(event) {
    if (event.button || props.off || drag.current) return;
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    props.onGrab?.();
    const at = along(event);
    drag.current = { id: event.pointerId, at, from: event.shiftKey ? now : low + at * span };
    if (!event.shiftKey) put(low + at * span);
  }
  /** @param {PointerEvent} event */
  function move(event) {
    const held = drag.current;
    if (held?.id !== event.pointerId) return;
    const at = along(event);
    if (event.shiftKey) {
      held.from += ((at - held.at) * span) / 10;
      held.from = clamp(held.from, low, high);
    } else held.from = low + at * span;
    held.at = at;
    put(held.from);
  }
  /** @param {PointerEvent} event */
  function up(event) {
    if (drag.current?.id !== event.pointerId) return;
    drag.current = null;
    props.onRelease?.();
  }
  /** @param {KeyboardEvent} event */
  function key(event) {
    if (props.off || event.ctrlKey || event.metaKey || event.altKey) return;
    const small = step || span / (event.shiftKey ? 1000 : 100), large = Math.max(step, span / 10);
    /** @type {Record<string, number>} */
    const to = {
      ArrowUp: now + small, ArrowRight: now + small, ArrowDown: now - small, ArrowLeft: now - small, PageUp: now + large,
      PageDown: now - large, Home: low, End: high, Delete: rest,
    };
    if (!(event.key in to)) return;
    event.preventDefault();
    event.stopPropagation();
    props.onGrab?.();
    put(to[event.key]);
    props.onRelease?.();
  }
  const share = span ? clamp((now - low) / span, 0, 1) : 0, from = span ? clamp((base - low) / span, 0, 1) : 0;
  const text = props.text ?? figures(now, step ? 1000 : span) + (props.unit ?? '');
  return html`<div class=${cls('slider', vertical && 'vertical', props.off && 'off', props.class)} role="slider" tabindex=${props.off ? -1 : 0}
      aria-label=${label} aria-valuemin=${low} aria-valuemax=${high} aria-valuenow=${now} aria-valuetext=${text}
      aria-orientation=${vertical ? 'vertical' : 'horizontal'} aria-disabled=${props.off || undefined} title=${props.title}
      style=${{ '--at': share, '--from': Math.min(from, share), '--span': Math.abs(share - from) }}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onKeyDown=${key}
      onDblClick=${() => { if (!props.off) { props.onGrab?.(); put(rest); props.onRelease?.(); } }} ...${props.extra}>
    <i class="fill"></i><i class="tick"></i>${props.ghost === undefined ? '' : html`<i class="ghost" style=${{ '--ghost': span ? clamp((props.ghost - low) / span, 0, 1) : 0 }}></i>`}
    <span class="label">${label}</span><output>${text}</output>
  </div>`;
}

/** A parameter's fader.
 * @param {{name: string, label?: string, vertical?: boolean, off?: boolean, class?: string, low?: number, high?: number}} props */
export function Fader({ name, label, vertical, off, class: more, low, high }) {
  const whole = onBus(name), row = parameter(whole), ghost = pickups.value.find(one => one.to === whole)?.at;
  if (!row) return null;
  return html`<${Slider} label=${label ?? shortName(name)} vertical=${vertical} off=${off || !operator.value}
    class=${cls(more, bus.value === 'preview' && whole === name && 'on-air')}
    now=${Number(value(whole).value ?? row.default ?? 0)} low=${low ?? row.low ?? 0} high=${high ?? row.high ?? 1} rest=${Number(row.default ?? 0)} base=${/(^|\/)word\//.test(whole) ? 1 : undefined}
    step=${row.kind === 'int' ? 1 : 0} unit=${row.unit ? ` ${row.unit}` : ''}
    title=${[row.doc, waits(whole)].filter(Boolean).join('\n')} ghost=${typeof ghost === 'number' ? ghost : undefined}
    onGrab=${() => grab(whole)} onRelease=${() => letGo(whole)} onInput=${(/** @type {number} */ x) => set(whole, x)}
    extra=${mapped(whole)} />`;
}

/** @param {{name: string, label?: string, args?: any[], class?: string, title?: string, down?: boolean, children?: any}} props */
export function Trigger({ name, label, args = [], class: more, title, down, children }) {
  const whole = onBus(name), row = parameter(whole);
  if (!row) return null;
  return html`<button class=${cls('button', more)} aria-label=${label ?? shortName(name)} aria-pressed=${down} title=${title ?? row.doc}
    disabled=${!operator.value} onClick=${() => fire(whole, ...args)} ...${mapped(whole)}>${children ?? label ?? shortName(name)}</button>`;
}

/** @param {{name: string, label?: string, class?: string}} props */
export function Toggle({ name, label, class: more }) {
  const whole = onBus(name), row = parameter(whole);
  if (!row) return null;
  const on = Boolean(value(whole).value);
  return html`<button class=${cls('button', 'toggle', more)} aria-pressed=${on} title=${row.doc} disabled=${!operator.value}
    onClick=${() => press(whole, !on)} ...${mapped(whole)}>${label ?? shortName(name)}</button>`;
}

/** @param {{name: string, label?: string, seg?: boolean}} props */
export function Choice({ name, label, seg }) {
  const whole = onBus(name), row = parameter(whole);
  if (!row) return null;
  const now = value(whole).value;
  if (seg) return html`<div class="segments" role="group" aria-label=${label ?? shortName(name)} title=${row.doc} ...${mapped(whole)}>
    ${row.choices.map(choice => html`<button aria-pressed=${choice === now} disabled=${!operator.value}
      onClick=${() => press(whole, choice)}>${choice}</button>`)}</div>`;
  return html`<span class="choice" ...${mapped(whole)}><select aria-label=${label ?? shortName(name)} title=${mapMode.value ? undefined : row.doc} value=${now} disabled=${!operator.value}
    onChange=${(/** @type {any} */ event) => { press(whole, event.currentTarget.value); event.currentTarget.blur(); }}>
    ${row.choices.map(choice => html`<option value=${choice} selected=${choice === now}>${choice}</option>`)}</select></span>`;
}

/** A number that is typed, or stepped by arrows. now: shown in place of the parameter's own value.
 * @param {{name: string, label?: string, class?: string, now?: number}} props */
export function NumberField({ name, label, class: more, now: shown }) {
  const whole = onBus(name), row = parameter(whole);
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  if (!row) return null;
  const now = shown ?? value(whole).value;
  const send = () => {
    if (typed !== null && typed.trim() !== '' && Number.isFinite(Number(typed)))
      press(whole, clamp(Number(typed), row.low ?? -Infinity, row.high ?? Infinity));
    setTyped(null);
  };
  return html`<input class=${cls('number', more)} type="text" inputmode="decimal" aria-label=${label ?? shortName(name)} title=${row.doc}
    value=${typed ?? String(typeof now === 'number' ? Math.round(now * 100) / 100 : now ?? '')} disabled=${!operator.value} ...${mapped(whole)}
    onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)} onBlur=${send}
    onKeyDown=${(/** @type {any} */ event) => {
      if (event.key === 'Enter' || event.key === 'Escape') {
        if (event.key === 'Escape') setTyped(null);
        event.currentTarget.blur();
      } else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
        event.preventDefault();
        setTyped(null);
        press(whole, clamp(Number(now) + (event.key === 'ArrowUp' ? 1 : -1), row.low ?? -Infinity, row.high ?? Infinity));
      }
    }} />`;
}

/** A text that is sent with Enter.
 * @param {{name: string, label?: string}} props */
export function TextField({ name, label }) {
  const whole = onBus(name), row = parameter(whole);
  const [typed, setTyped] = useState(/** @type {string | null} */ (null));
  if (!row) return null;
  return html`<input type="text" aria-label=${label ?? shortName(name)} title=${row.doc} value=${typed ?? String(value(whole).value ?? '')}
    disabled=${!operator.value} spellcheck=${false} ...${mapped(whole)}
    onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)} onBlur=${() => setTyped(null)}
    onKeyDown=${(/** @type {any} */ event) => {
      if (event.key === 'Enter' && typed !== null) fire(whole, typed);
      if (event.key === 'Enter' || event.key === 'Escape') event.currentTarget.blur();
    }} />`;
}

/** The widget that fits a parameter of the table.
 * @param {{name: string, label?: string}} props */
export function Widget({ name, label }) {
  const row = parameter(onBus(name));
  switch (row?.kind) {
    case 'trigger': return html`<${Trigger} name=${name} label=${label} />`;
    case 'bool': return html`<${Toggle} name=${name} label=${label} />`;
    case 'enum': return html`<${Choice} name=${name} label=${label} />`;
    case 'text': return html`<${TextField} name=${name} label=${label} />`;
    case 'int': if ((row.high ?? Infinity) - (row.low ?? 0) > 64) return html`<${NumberField} name=${name} label=${label} />`;
  }
  return row ? html`<${Fader} name=${name} label=${label} />` : null;
}

/** A button that acts only when it is held for a moment, for what nobody wants to press by accident.
 * @param {{label: string, class?: string, title?: string, onHeld: () => void, extra?: Record<string, any>}} props */
export function HoldButton({ label, class: more, title, onHeld, extra }) {
  const timer = useRef(0);
  const [down, setDown] = useState(false);
  const end = () => {
    clearTimeout(timer.current);
    setDown(false);
  };
  const start = () => {
    clearTimeout(timer.current);
    setDown(true);
    timer.current = window.setTimeout(() => { end(); onHeld(); }, 600);
  };
  return html`<button class=${cls('button', 'holding', down && 'down', more)} aria-label=${`${label}: hold`} title=${title} disabled=${!operator.value}
    onPointerDown=${(/** @type {PointerEvent} */ event) => { if (!event.button) start(); }} onPointerUp=${end} onPointerCancel=${end} onPointerLeave=${end}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => { if (event.key === 'Enter' && !event.repeat) start(); }} onKeyUp=${end} onBlur=${end} ...${extra}>
    <i></i><span>${label}</span></button>`;
}
