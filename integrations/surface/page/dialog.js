// A box over the page, for what is edited. Escape closes it, and the focus goes back to where it was. What fails is said in the box, and
// what was typed stays.

import { cls, html, useEffect, useRef, useState } from './html.js';

/** @param {{title: string, error?: string, onClose: () => void, children: any}} props */
export function Dialog({ title, error, onClose, children }) {
  const box = useRef(/** @type {any} */ (null));
  useEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement), dialog = /** @type {HTMLDialogElement} */ (box.current);
    dialog.showModal();
    /** @type {HTMLElement | null} */ (dialog.querySelector('.content input, .content button'))?.focus();
    return () => {
      dialog.close();
      before?.focus?.();
    };
  }, []);
  return html`<dialog ref=${box} aria-label=${title} onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); onClose(); }}
      onPointerDown=${(/** @type {Event} */ event) => { event.stopPropagation(); if (event.target === box.current) onClose(); }}
      onClick=${(/** @type {Event} */ event) => event.stopPropagation()}>
    <header><h2>${title}</h2><button class="button close" aria-label="close" onClick=${onClose}>×</button></header>
    ${error ? html`<p class="error" role="alert">${error}</p>` : ''}
    <div class="content">${children}</div>
  </dialog>`;
}

/** Work that takes a moment: whether it is under way, and why it failed. `run` resolves to whether it was done. Its button is
 * `aria-disabled` meanwhile: one that is disabled would lose the focus. */
export function useWork() {
  const [busy, setBusy] = useState(false), [error, setError] = useState(''), under = useRef(false);
  return {
    busy, error,
    /** @param {() => Promise<any>} work */
    run: async work => {
      if (under.current) return false;
      under.current = true;
      setBusy(true);
      setError('');
      try {
        await work();
        return true;
      } catch (problem) {
        setError(/** @type {Error} */ (problem).message);
        return false;
      } finally {
        under.current = false;
        setBusy(false);
      }
    },
  };
}

const ASK_MS = 3000;

/** A button that asks once before it destroys something, or as often as what it asks changes.
 * @param {{label: string, question: string, children?: any, class?: string, title?: string, onSure: () => void}} props label: what is
 * read out. question: empty where there is nothing to ask. children: shown in place of the label; it then asks "Really?" */
export function AskButton({ label, question, children, class: more, title, onSure }) {
  const { asking, sure, forget } = useQuestion(question), timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  return html`<button type="button" class=${cls('button', asking ? 'asking' : more)} aria-label=${asking ? question : label} title=${title} onClick=${() => {
    clearTimeout(timer.current);
    if (sure()) {
      forget();
      onSure();
    } else timer.current = window.setTimeout(forget, ASK_MS);
  }}>${asking ? (children ? 'Really?' : question) : children ?? label}</button>`;
}

/** @param {{label: string, children?: any, class?: string, onSure: () => void}} props label: as in "unmap CC 1" */
export const DeleteButton = ({ label, ...rest }) => html`<${AskButton} label=${label} question=${`Really ${label[0].toLowerCase()}${label.slice(1)}?`} ...${rest} />`;

/** The button of a form, which asks before it destroys something: `sure` is whether it may be carried out, and `forget` makes it ask again.
 * @param {string} question empty where there is nothing to ask */
export function useQuestion(question) {
  const [asked, setAsked] = useState(''), asking = question !== '' && asked === question;
  return {
    asking,
    sure: () => {
      if (question === '' || asking) return true;
      setAsked(question);
      return false;
    },
    forget: () => setAsked(''),
  };
}
