// What every part of the page draws with: Preact's elements, written as templates.

import htm from './vendor/htm.js';
import { h } from './vendor/preact.js';

export { render, Fragment } from './vendor/preact.js';
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from './vendor/hooks.js';
export { batch, computed, effect, signal, untracked, useComputed, useSignal } from './vendor/signals.js';

/** @type {(strings: TemplateStringsArray, ...values: any[]) => any} */
export const html = htm.bind(h);

/** Class names, without those that do not apply.
 * @param {...(string | false | null | undefined | 0)} names */
export const cls = (...names) => names.filter(Boolean).join(' ');
