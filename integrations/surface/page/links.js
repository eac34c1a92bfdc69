// How other devices open this page: its address, as a link and as a QR code.

import { html, useEffect, useState } from './html.js';
import { request } from './socket.js';

/** @typedef {{url: string, qr: string}} Link */

/** @param {{what: string, link: Link}} props */
function QrCode({ what, link }) {
  return html`<div class="link"><h3>${what}</h3><div class="qr" role="img" aria-label=${`QR code of the address for ${what}`} ref=${(/** @type {HTMLElement | null} */ box) => {
    const drawn = box && !box.firstChild && new DOMParser().parseFromString(link.qr, 'text/html').querySelector('svg');
    if (!drawn) return;
    if (!drawn.hasAttribute('viewBox')) drawn.setAttribute('viewBox', `0 0 ${drawn.getAttribute('width')} ${drawn.getAttribute('height')}`);
    box.append(document.importNode(drawn, true));
  }}></div><p><code>${link.url}</code></p></div>`;
}

export function Links() {
  const [links, setLinks] = useState(/** @type {(Link & {network?: boolean, viewer?: Link}) | null} */ (null)), [error, setError] = useState('');
  useEffect(() => { request('surface/link').then(setLinks, (/** @type {Error} */ problem) => setError(problem.message)); }, []);
  if (!links) return html`<p class="faint">${error || 'a moment'}</p>`;
  if (links.network === false) return html`<p class="faint">This page is served to this machine only. With <code>surface: {host: lan}</code> in the show, or <code>--surface-host lan</code>, phones
    and tablets of the same network open it by a link that stands here.</p><p><code>${links.url}</code></p>`;
  return html`<${QrCode} what="operators" link=${links} />${links.viewer && html`<${QrCode} what="viewers" link=${links.viewer} />`}`;
}
