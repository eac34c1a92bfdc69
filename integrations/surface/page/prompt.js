// The prompt line: what the world is, what it will read of what is typed, every word of it a fader, and prompt B to morph to.

import { cls, computed, effect, html, signal, useEffect, useRef, useState } from './html.js';
import { DeleteButton } from './dialog.js';
import { ask, fire, request } from './socket.js';
import { bus, drawer, editable, kept, line, mapMode, onBus, operator, parameter, performing, previewStatus, say, show, value } from './state.js';
import { allDown, padsUp } from './pads.js';
import { Fader, figures, mapped } from './widgets.js';

const READ_MS = 180;
const PROMPT_BYTES = 16384; // node/parameters.py: TEXT_BYTES
const FILLERS = new Set('a an the of by in at on and with to into over under is are its it from for as'.split(' '));

const history = kept('history', /** @type {string[]} */ ([]));
const follow = kept('follow', false);
/** @typedef {{text: string, understood: number, words: {word: string, known: boolean}[], values: Record<string, [string, number][]>}} Reading */
/** @type {import('./vendor/signals.js').Signal<Reading | null>} */
const reading = signal(null);
const typed = signal(/** @type {string | null} */ (null));
const list = signal('');
effect(() => { // whatever else is opened closes the list
  void [drawer.value, mapMode.value, performing.value, bus.value];
  list.value = '';
});

let timer = 0;
/** Ask, a moment after the last letter, what the world reads of that.
 * @param {string} text */
function read(text) {
  clearTimeout(timer);
  timer = window.setTimeout(async () => {
    if (!text.trim()) return reading.value = null;
    const answer = await request('prompt/read', { text }).catch(() => null);
    if (answer && typed.value === text) reading.value = { ...answer, text };
    if (follow.value && typed.value === text && previewStatus.value.state === 'running') fire('preview/prompt', text, 0.5);
  }, READ_MS);
}

/** Returns whether it was played.
 * @param {string} text
 * @param {string} [name] */
export function prompt(text, name = onBus('prompt')) {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > PROMPT_BYTES) say(`Not sent: the prompt is too long. It has ${bytes} bytes, and ${PROMPT_BYTES} are the most`, true);
  if (!text.trim() || bytes > PROMPT_BYTES) return false;
  const bare = name.endsWith('prompt/b') ? [] : [Number(value(onBus('transition')).value ?? 1)];
  fire(name, text, ...bare);
  history.value = [text, ...history.value.filter(other => other !== text)].slice(0, 60);
  return true;
}

export function PromptLine() {
  const name = onBus('prompt'), now = String(value(name).value ?? ''), text = typed.value ?? now;
  const at = useRef(-1);
  const favourite = show.value.favourites.includes(text);
  const done = () => {
    typed.value = reading.value = null;
    at.current = -1;
  };
  /** @param {any} event */
  const key = event => {
    if (event.key === 'Enter') {
      event.preventDefault();
      if (!prompt(text, name) && text.trim()) return; // what was typed stays
      done();
      event.currentTarget.select();
    } else if (event.key === 'Escape') {
      done();
      event.currentTarget.blur();
    } else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
      event.preventDefault();
      at.current = Math.max(-1, Math.min(history.value.length - 1, at.current + (event.key === 'ArrowUp' ? 1 : -1)));
      typed.value = at.current < 0 ? null : history.value[at.current];
    }
  };
  const hint = Share();
  const ready = typed.value !== null && typed.value !== now;
  return html`<div class="prompt-line">
    <div class=${cls('field', hint && 'hinted')}><input id="prompt" type="text" aria-label=${`prompt of the ${bus.value}`} value=${text} disabled=${!operator.value} autocomplete="off"
      spellcheck=${false} placeholder="what the world is" enterkeyhint="go" class=${cls(ready && 'ready')} ...${mapped(name)}
      onInput=${(/** @type {any} */ event) => { typed.value = event.currentTarget.value; read(event.currentTarget.value); }}
      onFocus=${() => list.value = ''} onKeyDown=${key} onBlur=${() => { if (typed.value === now) done(); }} />
      ${hint}${ready && html`<button class="button primary send" aria-label="send the prompt" onClick=${() => { if (prompt(text, name)) done(); }}>Send ↵</button>`}</div>
    <${Fader} name="transition" label="time" class="time" high=${16} />
    ${operator.value && html`<button class="button icon star" aria-pressed=${favourite} aria-label="favourite" title="keep this prompt among the favourites" disabled=${!editable.value || !text}
      onClick=${() => ask(favourite ? 'favourite/remove' : 'favourite/add', { text })}>${favourite ? '★' : '☆'}</button>
    <button class="button" aria-expanded=${list.value === 'favourites'} onClick=${() => list.value = list.value === 'favourites' ? '' : 'favourites'}>Favourites</button>
    <button class="button" aria-expanded=${list.value === 'history'} onClick=${() => list.value = list.value === 'history' ? '' : 'history'}>History</button>
    ${parameter('preview/on') && html`<button class="button toggle" aria-pressed=${follow.value} title="the preview shows what is being typed" onClick=${() => follow.value = !follow.value}>Preview follows</button>`}`}
    ${list.value && html`<${PromptList} name=${name} done=${done} />`}
  </div>`;
}

/** How much of the world the prompt still is, while pads are up: nothing of it is seen at 0%. */
function Share() {
  const up = operator.value ? padsUp(bus.value) : [];
  if (!up.length) return null;
  const left = Math.max(0, 1 - up.reduce((sum, name) => sum + Number(value(name).value), 0));
  return html`<span class="share" role="status"><span><i>pads are up: the </i>prompt shows at ${Math.round(left * 100)}%</span>
    <button class="button" onClick=${allDown}>all pads down</button></span>`;
}

/** @param {{name: string, done: () => void}} props */
function PromptList({ name, done }) {
  useEffect(() => {
    /** @param {Event} event */
    const close = event => { if (event.target instanceof Element && !event.target.closest('.prompt-list, [aria-expanded=true]')) list.value = ''; };
    for (const kind of ['pointerdown', 'focusin']) addEventListener(kind, close, true);
    return () => { for (const kind of ['pointerdown', 'focusin']) removeEventListener(kind, close, true); };
  }, []);
  const texts = list.value === 'favourites' ? show.value.favourites : history.value;
  return html`<ul class="prompt-list" aria-label=${list.value}>${texts.length ? texts.map(text => html`<li>
    <button class="text" onClick=${() => { prompt(text, name); done(); list.value = ''; }}>${text}</button>
    <button class="button icon" aria-label=${`edit ${text}`} title="into the line, to change it" onClick=${() => { typed.value = text; list.value = ''; document.getElementById('prompt')?.focus(); }}>✎</button>
    ${list.value === 'favourites' && editable.value && html`<${DeleteButton} class="icon" label=${`remove ${text}`} onSure=${() => ask('favourite/remove', { text })}>×</${DeleteButton}>`}
  </li>`) : html`<li class="faint">nothing yet</li>`}</ul>`;
}

/** What the world reads while somebody types; the words' faders otherwise. */
export function PromptWords() {
  const read = reading.value;
  if (read && typed.value !== null) return html`<div class="reading" aria-live="polite">
    <b class=${cls(read.understood < 0.5 && 'poor')}>${Math.round(read.understood * 100)}% understood</b>
    <span class="said">${read.words.map(({ word, known }) => html`<span class=${cls(!known && 'unknown')} title=${known ? '' : 'the world does not know this word'}>${word}</span> `)}</span>
    <span class="values">${Object.entries(read.values).map(([attribute, values]) => values.length ? html`<span><small>${attribute}</small> ${values.slice(0, 2).map(([what, weight]) => html`<b>${what}</b> ${figures(weight, 1)} `)}</span>` : '')}</span>
  </div>`;
  return html`<${Words} />`;
}

const words = computed(() => {
  const text = String(value(onBus('prompt')).value ?? '');
  return [...new Set(text.toLowerCase().match(/[\p{L}\p{N}'-]+/gu) ?? [])].filter(word => !FILLERS.has(word)).slice(0, 14);
});

/** The words of the present prompt that the world does not know. @type {import('./vendor/signals.js').Signal<Set<string>>} */
const unknown = signal(new Set());
effect(() => {
  const text = String(value(onBus('prompt')).value ?? '');
  if (!text || line.value !== 'open' || !operator.value) return;
  request('prompt/read', { text }).then((/** @type {Reading} */ answer) => {
    unknown.value = new Set(answer.words.filter(({ known }) => !known).map(({ word }) => word.toLowerCase()));
  }, () => {});
});

function Words() {
  return html`<div class="words" role="group" aria-label="weights of words">${words.value.map(word => html`<${Fader} key=${word} name=${`word/${word}`} label=${word}
    class=${cls('word', unknown.value.has(word) && 'unknown', Number(value(onBus(`word/${word}`)).value ?? 1) !== 1 && 'changed')} />`)}</div>`;
}

export function PromptB() {
  const name = onBus('prompt/b');
  const [text, setText] = useState(/** @type {string | null} */ (null));
  const now = String(value(name).value ?? '');
  return html`<div class="prompt-b"><span class="ab">A</span><${Fader} name="morph" label="morph" class="crossfader" /><span class="ab">B</span>
    <input type="text" aria-label="prompt B" value=${text ?? now} placeholder="prompt B" disabled=${!operator.value} spellcheck=${false} ...${mapped(name)}
      onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} onBlur=${() => setText(null)}
      onKeyDown=${(/** @type {any} */ event) => {
        if (event.key === 'Enter' && text?.trim() && !prompt(text, name)) return;
        if (event.key === 'Enter' || event.key === 'Escape') event.currentTarget.blur();
      }} /></div>`;
}
