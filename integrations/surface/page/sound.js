// Meters of what sound does: level, bass, treble, onset. They are parameters, so that they can be played by hand, too.

import { html } from './html.js';
import { parameters, status } from './state.js';
import { Fader } from './widgets.js';

export function Sound() {
  const names = [...parameters.value.keys()].filter(name => name.startsWith('sound/'));
  return html`<div class="meters" role="group" aria-label="sound">${names.map(name => html`<${Fader} name=${name} vertical=${true} class="meter" />`)}</div>`;
}

export function SoundBar() {
  const { audio } = status.value.inputs;
  return html`<span class="end faint">${audio ? audio.device ?? audio.input ?? audio.state ?? '' : ''}</span>`;
}
