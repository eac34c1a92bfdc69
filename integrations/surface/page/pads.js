// Sixteen pads of the open bank. A tap toggles a pad, a longer press holds it only while pressed, a drag sets its weight: up or down from
// what it was, or along the bar at its lower edge.

import { cls, computed, effect, html, signal, useRef, useState } from './html.js';
import { fire, hold, press, request, set, unhold, upload } from './socket.js';
import { bus, editable, editing, grab, kept, line, onBus, operator, part, say, show, stills, value } from './state.js';
import { AskButton, Dialog, useQuestion, useWork } from './dialog.js';
import { clamp, keyName, mapped } from './widgets.js';

const HOLD_MS = 350;
const DRAG_PX = 6;
const TRAVEL_PX = 110; // from 0 to 1
const BAR_PX = 24; // of a pad's lower edge, where a drag sets its weight
const PRESS_MS = 200; // until a press that does not move counts as a longer one, so that a drag does not flash the whole weight

/** What a tap does. @type {import('./vendor/signals.js').Signal<'toggle' | 'hold' | 'solo'>} */
export const tapMode = kept('tap', /** @type {'toggle' | 'hold' | 'solo'} */ ('toggle'));
const programBank = part(status => status.bank);
export const bankIndex = computed(() => {
  const open = bus.value === 'preview' ? value('preview/bank').value : programBank.value; // by number, or by name
  const named = show.value.banks.findIndex(bank => bank.name === open);
  return Math.max(0, named >= 0 ? named : Math.round(Number(open) || 1) - 1);
});
/** The pad whose editor is open, from 1. @type {import('./vendor/signals.js').Signal<number | null>} */
export const edited = signal(null);

/** Press and release of a pad, by finger or key alike. How long it was pressed counts from event to event, not from when a busy page took them.
 * @param {string} name the pad's whole name
 * @param {number} at time stamp of the event
 * @returns {(at?: number) => void} its release, with the time stamp of that */
export function padPress(name, at = performance.now()) {
  const before = Number(value(name).peek()), mode = tapMode.peek();
  const lasts = mode === 'solo' || (mode === 'toggle' && before > 0); // what is set now stays by itself
  if (lasts) grab(name);
  else hold(name, 0);
  if (mode === 'solo') for (let n = 1; n <= 16; n++) {
    const other = name.replace(/\d+$/, String(n));
    if (other !== name && Number(value(other).peek()) > 0) press(other, 0);
  }
  if (before <= 0 || mode !== 'toggle') set(name, 1);
  return (ended = performance.now()) => {
    const long = ended - at > HOLD_MS;
    if (mode === 'hold' || (mode === 'toggle' && (before > 0 ? !long : long))) set(name, 0);
    unhold(name);
  };
}

/** @type {import('./vendor/signals.js').Signal<Record<string, string>>} */
const thumbnails = signal({});
let askedFor = '';
effect(() => { // ask again whenever the bank's prompts or the drawn stills have changed
  if (line.value !== 'open') {
    askedFor = '';
    return;
  }
  const bank = bankIndex.value, drawn = JSON.stringify({ ...stills.value, try: null });
  const what = JSON.stringify([bank, drawn, show.value.banks[bank]?.pads.map(pad => pad.prompt || pad.text)]);
  if (what === askedFor) return;
  askedFor = what;
  request('stills/pads', { bank: bank + 1 }).then(result => thumbnails.value = result?.stills ?? {}, () => {});
});

/** @param {{n: number}} props */
function PadCell({ n }) {
  const pad = show.value.banks[bankIndex.value]?.pads[n - 1], name = onBus(`pad/${n}`), weight = Number(value(name).value) || 0;
  const finger = useRef(/** @type {any} */ (null));
  const [over, setOver] = useState(false);
  const label = pad?.label || pad?.prompt || pad?.text || pad?.image || pad?.sound || '', picture = thumbnails.value[String(n)];
  const key = Object.entries(show.value.keys).find(([, to]) => to === `pad/${n}`)?.[0];
  const edit = editing.value && editable.value;

  // A tap acts when it ends, a longer press after a moment: until then it may become a drag, which begins at the weight that the pad has.
  // Where a tap holds, it acts at once.
  /** @param {PointerEvent} event */
  function down(event) {
    if (event.button || finger.current || !operator.value || edit) return;
    const cell = /** @type {Element} */ (event.currentTarget), box = cell.getBoundingClientRect();
    cell.setPointerCapture(event.pointerId);
    const bar = box.bottom - event.clientY < Math.min(BAR_PX, box.height * 0.3), waits = tapMode.value !== 'hold';
    const held = finger.current = {
      id: event.pointerId, x: event.clientX, y: event.clientY, box, bar, from: waits ? weight : 1, dragging: false, timer: 0,
      at: event.timeStamp, up: /** @type {null | ((at: number) => void)} */ (waits ? null : padPress(name, event.timeStamp)),
    };
    if (waits) held.timer = window.setTimeout(() => held.up = padPress(name, held.at), PRESS_MS);
  }
  /** @param {PointerEvent} event */
  function move(event) {
    const held = finger.current;
    if (held?.id !== event.pointerId) return;
    if (!held.dragging && Math.abs(held.bar ? event.clientX - held.x : event.clientY - held.y) > DRAG_PX) {
      held.dragging = true;
      clearTimeout(held.timer);
      if (tapMode.value !== 'hold') unhold(name); // a weight that is dragged stays
      grab(name);
    }
    if (!held.dragging) return;
    set(name, clamp(held.bar ? (event.clientX - held.box.left) / held.box.width : held.from + (held.y - event.clientY) / TRAVEL_PX, 0, 1));
  }
  /** @param {PointerEvent} event */
  function up(event) {
    const held = finger.current;
    if (held?.id !== event.pointerId) return;
    finger.current = null;
    clearTimeout(held.timer);
    if (!held.dragging) (held.up ?? (event.type === 'pointercancel' ? () => {} : padPress(name, held.at)))(event.timeStamp);
    else {
      if (tapMode.value === 'hold') set(name, 0);
      unhold(name);
    }
  }
  /** @param {KeyboardEvent} event */
  function keydown(event) {
    const steps = /** @type {Record<string, number>} */ ({ ArrowUp: 0.05, ArrowRight: 0.05, ArrowDown: -0.05, ArrowLeft: -0.05 });
    if (event.key in steps) press(name, clamp(weight + steps[event.key], 0, 1));
    else if (event.key === 'Enter' || event.key === ' ') {
      if (edit) edited.value = n;
      else press(name, weight > 0 ? 0 : 1);
    } else if (event.key === 'F2' && editable.value) edited.value = n;
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  /** @param {DragEvent} event */
  async function drop(event) {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer?.files[0];
    if (file && editable.value) await putFile(n, file).catch((/** @type {Error} */ error) => say(error.message, true));
  }
  return html`<div class=${cls('pad', weight > 0 && 'up', over && 'over', !label && 'bare', edit && 'editing')} role="slider" tabindex=${operator.value ? 0 : -1} aria-disabled=${!operator.value || undefined}
      aria-label=${`pad ${n}${label ? `: ${label}` : ''}`} aria-valuemin="0" aria-valuemax="1" aria-valuenow=${weight} aria-valuetext=${`${Math.round(weight * 100)}%`}
      title=${pad?.prompt || pad?.text || undefined} style=${{ '--at': weight }}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onKeyDown=${keydown}
      onClick=${() => { if (edit) edited.value = n; }} onContextMenu=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (editable.value && /** @type {PointerEvent} */ (event).pointerType !== 'touch') edited.value = n;
      }}
      onDragOver=${(/** @type {DragEvent} */ event) => { event.preventDefault(); setOver(editable.value); }} onDragLeave=${() => setOver(false)} onDrop=${drop}
      ...${mapped(name)}>
    ${picture && html`<img src=${picture} alt="" draggable=${false} />`}
    <i class="weight"></i>
    <span class="n">${n}${operator.value && key && key !== String(n) ? html`<kbd>${keyName(key)}</kbd>` : ''}</span>
    ${weight > 0 && html`<output>${Math.round(weight * 100)}</output>`}
    <span class="words-on-it">${!picture && pad?.label && (pad.prompt || pad.text) && html`<span class="said">${pad.prompt || pad.text}</span>`}<span class="label">${label}</span></span>
  </div>`;
}

/** Rejects with one plain line.
 * @param {number} n
 * @param {File} file */
async function putFile(n, file) {
  const kind = /^(image|audio|video)\//.exec(file.type)?.[1] ?? '';
  const field = /** @type {Record<string, string>} */ ({ image: 'image', audio: 'sound', video: 'video' })[kind];
  if (!field) throw new Error(`${file.name}: a pad takes a picture, a sound or a video`);
  await request('pad/edit', { bank: bankIndex.value + 1, pad: n, [field]: await upload(file) });
  say(`${file.name} is on pad ${n}`);
}

/** @param {{count?: number}} props */
export function Pads({ count = 16 }) {
  const { banks } = show.value, index = bankIndex.value;
  return html`<div class="pads" role="group" aria-label=${`pads of bank ${banks[index]?.name ?? index + 1}`}>
    ${Array.from({ length: count }, (_, i) => html`<${PadCell} key=${i} n=${i + 1} />`)}
    ${edited.value && editable.value && html`<${PadEditor} n=${edited.value} />`}
  </div>`;
}

/** @param {'program' | 'preview'} which */
export const padsUp = which => Array.from({ length: 16 }, (_, i) => `${which === 'preview' ? 'preview/' : ''}pad/${i + 1}`).filter(name => Number(value(name).value) > 0);
export const allDown = () => { for (const name of padsUp(bus.peek())) press(name, 0); };

/** The banks, what a tap does, and whether pads are being edited. */
export function PadsBar() {
  const { banks } = show.value;
  const modes = { toggle: 'tap: on and off; press longer: only while pressed; drag up or down, or along the lower edge: the weight', hold: 'only while pressed', solo: 'one pad alone' };
  return html`<div class="banks" role="group" aria-label="bank">${banks.map((bank, i) => html`<button aria-pressed=${i === bankIndex.value}
      disabled=${!operator.value} onClick=${() => press(onBus('bank'), i + 1)} ...${mapped(onBus('bank'), !i)}>${/^\d*$/.test(bank.name) ? `bank ${bank.name || i + 1}` : bank.name}</button>`)}</div>
    <span class="end"></span>
    ${operator.value && html`<div class="segments" role="group" aria-label="what a tap does">${/** @type {('toggle' | 'hold' | 'solo')[]} */ (['toggle', 'hold', 'solo']).map(mode => html`<button
      aria-pressed=${tapMode.value === mode} title=${modes[mode]} onClick=${() => tapMode.value = mode}>${mode}</button>`)}</div>`}
    ${operator.value && html`<button class="button" title="all pads down" onClick=${allDown}>all down</button>`}
    ${editable.value && html`<button class="button toggle" aria-pressed=${editing.value} title="edit pads: click one" onClick=${() => editing.value = !editing.value}>edit</button>`}`;
}

/** What can be edited of a pad.
 * @param {import('./state.js').Pad | undefined} pad */
const fieldsOf = pad => ({ label: pad?.label ?? '', text: pad?.text ?? '', image: pad?.image ?? '', sound: pad?.sound ?? '', video: pad?.video ?? '' });

/** How a pad is called in a question; empty for one with nothing on it.
 * @param {import('./state.js').Pad | undefined} pad */
const padName = pad => Object.values(fieldsOf(pad)).find(text => text) ?? '';

/** @param {{n: number}} props */
function PadEditor({ n }) {
  const bank = bankIndex.value + 1, pad = show.value.banks[bank - 1]?.pads[n - 1];
  const [before] = useState(() => fieldsOf(pad)), [fields, setFields] = useState(before);
  // Only what was changed here is sent: another page may have changed the rest.
  const changed = Object.fromEntries(Object.entries(fields).filter(([field, text]) => text !== before[/** @type {keyof typeof before} */ (field)]));
  const left = Object.values({ ...fieldsOf(pad), ...changed }).some(text => text.trim());
  const { asking, sure } = useQuestion(!left && padName(pad) ? `Empty '${padName(pad)}'?` : '');
  const [to, setTo] = useState({ bank, pad: n });
  const close = () => edited.value = null, { busy, error, run } = useWork();
  /** @param {() => Promise<any>} work */
  const then = async work => { if (await run(work)) close(); };
  const save = () => { if (sure()) then(async () => Object.keys(changed).length && request('pad/edit', { bank, pad: n, ...changed })); };
  const there = to.bank === bank && to.pad === n ? '' : padName(show.value.banks[to.bank - 1]?.pads[to.pad - 1]);
  /** @param {'pad/copy' | 'pad/move'} what */
  const carry = what => then(() => request(what, { bank, pad: n, to_bank: to.bank, to_pad: to.pad }));
  /** @param {keyof typeof fields} field
   * @param {string} label */
  const row = (field, label) => html`<label><span>${label}</span><input type="text" value=${fields[field]} spellcheck=${false}
    onInput=${(/** @type {any} */ event) => setFields({ ...fields, [field]: event.currentTarget.value })} /></label>`;
  return html`<${Dialog} title=${`Pad ${n} of bank ${show.value.banks[bank - 1]?.name || bank}`} error=${error} onClose=${close}>
    <form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); save(); }}>
      ${row('label', 'label')}${row('text', 'prompt')}${row('image', 'picture')}${row('sound', 'sound')}${row('video', 'video')}
      <div class="row"><span>file</span><label class="button file">Choose a picture, sound or video…<input type="file" accept="image/*,audio/*,video/*" onChange=${(/** @type {any} */ event) => {
        const file = event.currentTarget.files[0];
        if (file) then(() => putFile(n, file));
      }} /></label></div>
      <div class="row"><span>to</span>
        <select aria-label="to bank" value=${to.bank} onChange=${(/** @type {any} */ event) => setTo({ ...to, bank: Number(event.currentTarget.value) })}>
          ${show.value.banks.map((b, i) => html`<option value=${i + 1}>${b.name || `bank ${i + 1}`}</option>`)}</select>
        <select aria-label="to pad" value=${to.pad} onChange=${(/** @type {any} */ event) => setTo({ ...to, pad: Number(event.currentTarget.value) })}>
          ${Array.from({ length: 16 }, (_, i) => html`<option value=${i + 1}>pad ${i + 1}</option>`)}</select>
        <${AskButton} label="Copy" question=${there && `Replace '${there}'?`} onSure=${() => carry('pad/copy')} />
        <${AskButton} label="Move" question=${there && `Swap with '${there}'?`} onSure=${() => carry('pad/move')} /></div>
      <div class="row ends"><button type="button" class="button" onClick=${() => fire(`pad/${n}/text`, fields.text)} title="play the prompt now, without keeping it">Try it</button>
        <span class="end"></span>
        <button type="button" class="button" onClick=${close}>Cancel</button><button class=${cls('button', asking ? 'asking' : 'primary')} aria-disabled=${busy || undefined}>${busy ? 'Applying…' : asking ? `Empty '${padName(pad)}'?` : 'Apply'}</button></div>
    </form>
  </${Dialog}>`;
}
