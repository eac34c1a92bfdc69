// The cue list: now, next, what is counting down; go, back, jump, stop; store, edit, reorder.

import { cls, html, signal, useEffect, useRef, useState } from './html.js';
import { fire, request } from './socket.js';
import { bus, cueStatus, editable, onBus, operator, show, statusAt } from './state.js';
import { AskButton, DeleteButton, Dialog, useQuestion, useWork } from './dialog.js';
import { Choice, mapped } from './widgets.js';

/** The cue that was clicked: what go and jump take. @type {import('./vendor/signals.js').Signal<number | null>} */
const chosen = signal(null);
/** The cue that is being edited, by its place. @type {import('./vendor/signals.js').Signal<number | null>} */
const edited = signal(null);
const storing = signal(false);

/** What a cue is fired by: its name, or its number where two share a name or the name is a number.
 * @param {number} index */
function nameOf(index) {
  const { cues } = show.value, { name } = cues[index];
  return name && !/^\d+$/.test(name) && cues.filter(cue => cue.name === name).length === 1 ? name : index + 1;
}

/** @param {'cue/go' | 'cue/jump'} how
 * @param {number | null} index */
function go(how, index) {
  if (index === null || index >= show.value.cues.length) fire(onBus(how));
  else fire(onBus(how), nameOf(index));
  chosen.value = null;
}

/** "8.0 bar" is "8 bars", "1.0 beat" is "1 beat"; all else stays as it is.
 * @template T
 * @param {T} time */
export function musical(time) {
  const [, count, unit] = /^([\d.]+) *(beat|bar|phrase)s?$/.exec(String(time)) ?? [];
  return unit ? `${Number(count)} ${unit}${Number(count) === 1 ? '' : 's'}` : time;
}
/** @param {string | number} time seconds, or as in "8 bars" */
const inWords = time => Number.isFinite(Number(time)) ? `${Number(time)} s` : musical(time);

/** @param {number} seconds */
const clock = seconds => seconds >= 60 ? `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}` : seconds.toFixed(1);

/** A bar and figure that count down between two statuses.
 * @param {{seconds: number, of?: number | null, what: string}} props */
function Countdown({ seconds, of, what }) {
  const text = useRef(/** @type {any} */ (null)), began = useRef({ seconds, at: statusAt });
  began.current = { seconds, at: statusAt };
  useEffect(() => {
    let frame = 0;
    const draw = () => {
      const left = Math.max(0, began.current.seconds - (performance.now() - began.current.at) / 1000);
      text.current.textContent = clock(left);
      text.current.parentElement.style.setProperty('--left', of ? String(Math.min(1, left / of)) : '0');
      frame = requestAnimationFrame(draw);
    };
    draw();
    return () => cancelAnimationFrame(frame);
  }, [of]);
  return html`<span class=${cls('countdown', what)} title=${what}><small>${what}</small><output ref=${text}></output></span>`;
}

/** @param {{index: number}} props */
function CueRow({ index }) {
  const cue = show.value.cues[index], { now, next, waiting, follow, moving } = cueStatus.value, isNow = now === index, isNext = next === index;
  const time = musical(cue.transition) || (cue.seconds === null || cue.seconds === undefined ? '' : `${cue.seconds} s`);
  return html`<li class=${cls('cue', isNow && 'now', isNext && 'next', chosen.value === index && 'chosen')} aria-current=${isNow ? 'step' : undefined}>
    <button class="text" aria-label=${`cue ${index + 1}: ${cue.name}${isNow ? ', now' : isNext ? ', next' : ''}`} aria-pressed=${chosen.value === index} disabled=${!operator.value}
      title="click: choose it for go; double click: go" onClick=${() => chosen.value = chosen.value === index ? null : index} onDblClick=${() => go('cue/go', index)} ...${mapped(onBus('cue/go'), false)}>
      <span class="n">${index + 1}</span><span class="name">${cue.name || cue.prompt || '(no name)'}</span>
      ${cue.follow ? html`<span class="follow" title=${`the next one follows after ${inWords(cue.follow)}`}>↓ ${inWords(cue.follow)}</span>` : ''}
      ${waiting?.index === index ? html`<${Countdown} what="waits" seconds=${waiting.seconds} />` : ''}
      ${isNow && moving ? html`<${Countdown} what="moves" seconds=${moving.left} of=${moving.of} />` : ''}
      ${follow?.index === index ? html`<${Countdown} what="follows" seconds=${follow.seconds} />` : ''}
      <span class="time">${time}</span></button>
    ${editable.value && html`<button class="button icon edit" aria-label=${`edit cue ${index + 1}`} title="edit" onClick=${() => edited.value = index}>✎</button>`}
  </li>`;
}

export function Cues() {
  const { cues } = show.value, list = useRef(/** @type {any} */ (null)), { now } = cueStatus.value;
  useEffect(() => list.current?.querySelector('.now')?.scrollIntoView({ block: 'nearest' }), [now]);
  return html`<ol class="cues" ref=${list} aria-label="cues">${cues.map((_, i) => html`<${CueRow} key=${i} index=${i} />`)}
      ${!cues.length && html`<li class="empty">${editable.value ? 'No cues yet: Store keeps what the program is now.' : 'No cues.'}</li>`}</ol>
    <${Transport} />
    ${edited.value !== null && cues[edited.value] && editable.value && html`<${CueEditor} index=${edited.value} />`}
    ${storing.value && html`<${Store} />`}`;
}

/** Back, jump, stop and go, which stay in reach while a drawer lies over the list. */
export function Transport() {
  if (!operator.value) return null;
  const target = chosen.value ?? cueStatus.value.next, name = target === null || target === undefined ? '' : show.value.cues[target]?.name ?? '';
  return html`<div class="transport">
    <button class="button" aria-label="back" title="the cue before" onClick=${() => fire(onBus('cue/back'))} ...${mapped(onBus('cue/back'))}>◀ Back</button>
    <button class="button" title="be in it at once: no wait, no transition" onClick=${() => go('cue/jump', chosen.value)} ...${mapped(onBus('cue/jump'))}>Jump</button>
    <button class="button" title="nothing moves by itself any more" onClick=${() => fire(onBus('cue/stop'))} ...${mapped(onBus('cue/stop'))}>Stop</button>
    <button class="button primary big go" onClick=${() => go('cue/go', chosen.value)} aria-label=${`go: ${name || 'the next cue'}`} ...${mapped(onBus('cue/go'))}>
      <b>GO</b><small>${name}</small></button></div>`;
}

export function CuesBar() {
  return html`<span class="faint to-preview">${bus.value === 'preview' ? 'to the preview' : ''}</span><span class="end"></span>${operator.value && html`<span class="faint">quantise</span><${Choice} name="quantise" label="quantise: what cues wait for" />`}
    ${editable.value && html`<button class="button" title="keep what the program is now as a cue" onClick=${() => storing.value = true}>Store</button>`}`;
}

function Store() {
  const [name, setName] = useState(''), [seconds, setSeconds] = useState('2');
  const close = () => storing.value = false, { busy, error, run } = useWork();
  const called = name.trim() || `cue ${show.value.cues.length + 1}`; // which is that of another cue where one was deleted
  const same = show.value.cues.find(cue => cue.name.toLowerCase() === called.toLowerCase())?.name, { asking, sure } = useQuestion(same ? `Replace '${same}'?` : '');
  const save = async () => {
    if (sure() && await run(() => request('cue/store', { name: called, seconds: Number(seconds) || 0 }))) close();
  };
  return html`<${Dialog} title="Store what the program is now" error=${error} onClose=${close}><form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); save(); }}>
    <label><span>name</span><input type="text" autofocus value=${name} placeholder=${`cue ${show.value.cues.length + 1}`} onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} /></label>
    <label><span>seconds</span><input type="text" inputmode="decimal" value=${seconds} onInput=${(/** @type {any} */ event) => setSeconds(event.currentTarget.value)} /></label>
    <div class="row ends"><button type="button" class="button" onClick=${close}>Cancel</button><button class=${cls('button', asking ? 'asking' : 'primary')} aria-disabled=${busy || undefined}>${busy ? 'Storing…' : asking ? `Replace '${same}'?` : 'Store'}</button></div></form></${Dialog}>`;
}

/** "energy 0.4, act dance" and back.
 * @param {Record<string, any> | null | undefined} values */
const written = values => Object.entries(values ?? {}).map(([name, worth]) => `${name} ${worth}`).join(', ');
/** @param {string} text */
const parsed = text => Object.fromEntries(text.split(',').map(entry => entry.trim()).filter(Boolean).map(entry => {
  const [name, ...rest] = entry.split(/\s+/), worth = rest.join(' ');
  return [name, worth !== '' && Number.isFinite(Number(worth)) ? Number(worth) : worth === 'true' ? true : worth === 'false' ? false : worth];
}));

/** @param {{index: number}} props */
function CueEditor({ index }) {
  const [cue] = useState(() => show.value.cues[index]), last = show.value.cues.length - 1; // as it was when the dialog opened
  const [fields, setFields] = useState({
    name: cue.name ?? '', prompt: cue.prompt ?? '', time: musical(cue.transition) || (cue.seconds === null || cue.seconds === undefined ? '' : String(cue.seconds)), curve: cue.curve || 'smooth',
    quantise: cue.quantise ?? '', follow: String(musical(cue.follow) ?? ''), at: cue.at ?? '', values: written(cue.values),
    pads: cue.pads === null || cue.pads === undefined ? '' : written(cue.pads) || 'none',
  });
  const close = () => edited.value = null, { busy, error, run } = useWork();
  /** @param {string} what
   * @param {Record<string, any>} more */
  const act = async (what, more, stay = false) => {
    if (await run(() => request(what, { index, ...more })) && !stay) close();
  };
  const save = () => {
    const time = fields.time.trim(), plain = time !== '' && Number.isFinite(Number(time));
    /** @type {Record<string, any>} */
    const changed = {
      name: fields.name, prompt: fields.prompt || null, seconds: plain ? Number(time) : null, transition: plain || !time ? null : time, curve: fields.curve,
      quantise: fields.quantise || null, follow: fields.follow.trim() === '' ? null : Number.isFinite(Number(fields.follow)) ? Number(fields.follow) : fields.follow.trim(), at: fields.at.trim() || null,
      values: parsed(fields.values), pads: fields.pads.trim() === '' ? null : fields.pads.trim() === 'none' ? {} : parsed(fields.pads),
    };
    const before = /** @type {Record<string, any>} */ ({ ...cue, transition: musical(cue.transition), follow: musical(cue.follow) }); // only what was changed: all else stays as it is written in the file
    act('cue/edit', { was: cue.name, fields: Object.fromEntries(Object.entries(changed).filter(([field, worth]) => JSON.stringify(worth ?? null) !== JSON.stringify(before[field] ?? null))) });
  };
  /** @param {keyof typeof fields} field
   * @param {string} label
   * @param {string} [hint] */
  const row = (field, label, hint) => html`<label><span>${label}</span><input type="text" value=${fields[field]} placeholder=${hint} spellcheck=${false}
    onInput=${(/** @type {any} */ event) => setFields({ ...fields, [field]: event.currentTarget.value })} /></label>`;
  /** @param {keyof typeof fields} field
   * @param {string} label
   * @param {string[]} choices */
  const choice = (field, label, choices) => html`<label><span>${label}</span><select value=${fields[field]} onChange=${(/** @type {any} */ event) => setFields({ ...fields, [field]: event.currentTarget.value })}>
    ${choices.map(one => html`<option value=${one} selected=${one === fields[field]}>${one || "the show's own"}</option>`)}</select></label>`;
  return html`<${Dialog} title=${`Cue ${index + 1}`} error=${error} onClose=${close}><form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); save(); }}>
    ${row('name', 'name')}${row('prompt', 'prompt', 'stays as it is')}${row('time', 'time', 'seconds, or 2 beats, or 1 bar')}
    ${choice('curve', 'curve', ['smooth', 'linear', 'exp'])}${choice('quantise', 'waits for', ['', 'none', 'beat', 'bar', 'phrase'])}${row('follow', 'follow', 'seconds, or 8 bars; empty: none')}${row('at', 'fires at', 'timecode, as in 01:00:12:05')}
    ${row('pads', 'pads', 'stay as they are; none: all down; storm 0.8, 2 0.5')}${row('values', 'values', 'energy 0.4, act dance')}
    <div class="row"><button type="button" class="button" aria-disabled=${index === 0 || undefined} onClick=${() => { if (index === 0) return; act('cue/move', { was: cue.name, to: index - 1 }, true); edited.value = index - 1; }}>Move up</button>
      <button type="button" class="button" aria-disabled=${index === last || undefined} onClick=${() => { if (index === last) return; act('cue/move', { was: cue.name, to: index + 1 }, true); edited.value = index + 1; }}>Move down</button>
      <span class="end"></span>
      <${AskButton} label="Store over" title="overwrite it with what the program is now" question=${`Replace '${cue.name}'?`} onSure=${() => act('cue/store', { name: cue.name, seconds: cue.seconds })} />
      <${DeleteButton} label="Delete" onSure=${() => act('cue/delete', { was: cue.name })} /></div>
    <div class="row ends"><button type="button" class="button" onClick=${close}>Cancel</button><button class="button primary" aria-disabled=${busy || undefined}>${busy ? 'Applying…' : 'Apply'}</button></div></form></${Dialog}>`;
}
