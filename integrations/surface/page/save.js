// Whether the show is in its file. Edits go into it by themselves; a show without a file is saved under a name.

import { Dialog, useWork } from './dialog.js';
import { cls, html, signal, useState } from './html.js';
import { request } from './socket.js';
import { editable, say, show } from './state.js';

/** Whether the dialog is open that saves the show under a name. */
export const naming = signal(false);

/** Why the show is not in its file, without the words that the button says. */
const reason = () => show.value.error.replace(/^not saved: */i, '');

/** What became of the edits, in words. */
export function SaveButton() {
  const { file, unsaved } = show.value, why = reason();
  if (!file) return editable.value && html`<button class=${cls('button save', unsaved && 'primary')} title="the show has no file yet" onClick=${() => naming.value = true}>Save as…</button>`;
  if (why) return html`<button class="button save failed" title=${why} disabled=${!editable.value} onClick=${() => naming.value = true}>Not saved: ${why}</button>`;
  return html`<span class="save" role="status" title=${file}>${unsaved ? 'Saving…' : 'Saved'}</span>`;
}

/** Save under a name, or try again where the file could not be written. */
export function SaveAs() {
  const { file } = show.value, why = reason(), stem = file.split(/[/\\]/).at(-1)?.replace(/\.ya?ml$/, '');
  const [name, setName] = useState(stem || show.peek().name || 'show'), { busy, error, run } = useWork();
  const close = () => naming.value = false;
  const [asked, setAsked] = useState(''), exists = !busy && asked === name.trim() && /already exists/.test(error);
  /** @param {{name?: string, overwrite?: boolean}} as */
  const save = async as => {
    setAsked(as.name ?? '');
    if (!await run(() => request('show/save', as))) return;
    close();
    say(as.name ? `Saved as ${as.name}` : 'Saved');
  };
  return html`<${Dialog} title=${why ? 'The show is not saved' : 'Save the show as'} error=${busy ? '' : error || why} onClose=${close}>
    <form onSubmit=${(/** @type {Event} */ event) => { event.preventDefault(); if (!busy) save({ name: name.trim() }); }}>
    <label><span>file</span><input type="text" value=${name} onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} /></label>
    <div class="row ends">${why && file ? html`<button type="button" class="button" aria-disabled=${busy || undefined} onClick=${() => save({})}>Try again</button><span class="end"></span>` : ''}
      <button type="button" class="button" onClick=${close}>Cancel</button>${exists ? html`<button type="button" class="button asking" onClick=${() => save({ name: asked, overwrite: true })}>Overwrite it</button>`
        : html`<button class="button primary" aria-disabled=${busy || undefined}>${busy ? 'Saving…' : 'Save as'}</button>`}</div></form></${Dialog}>`;
}
