// A box over the page, for what is edited. Escape closes it, and the focus goes back to where it was.

import { html, useEffect, useRef } from './html.js';

/** @param {{title: string, onClose: () => void, children: any}} props */
export function Dialog({ title, onClose, children }) {
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
    <div class="content">${children}</div>
  </dialog>`;
}
