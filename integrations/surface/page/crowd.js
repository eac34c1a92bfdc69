// The audience: how many are here, what they move, polls, words, and the button that shuts them out.

import { cls, html } from './html.js';
import { fire, press, request } from './socket.js';
import { operator, part, say, value } from './state.js';
import { Choice, Toggle, mapped } from './widgets.js';

/** @typedef {{name: string, labels: string[], to: string, value: number, votes: number, held: boolean}} Fader */
/** @typedef {{name: string, question: string, state: string, options: string[], images: string[], counts: number[], winner: number | null, tied: number[], seconds: number}} Poll */

const crowd = part(status => /** @type {any} */ (status).crowd ?? null);
const server = part(status => status.inputs.crowd ?? null);

const EXAMPLE = 'crowd:\n  faders:\n  - {name: storm, labels: [calm, storm], to: energy}';

export function Crowd() {
  const facts = crowd.value, line = server.value ?? {};
  if (!facts) return html`<div class="crowd"><p>This show asks nothing of its audience. Add to its file:</p><pre>${EXAMPLE}</pre></div>`;
  const can = operator.value;
  return html`<div class="crowd">
    ${(line.error || line.message) && html`<p class="warn">${line.error || line.message}</p>`}
    <div class="heads"><b>${line.heads ?? 0}</b> here<span>${line.messages_per_s ?? 0} messages a second</span><span>${line.refused ?? 0} refused</span></div>
    ${line.url && html`<p class="link"><a href=${line.url} target="_blank" rel="noreferrer">${line.url}</a> <a href=${`${line.url}poster`} target="_blank" rel="noreferrer">poster for a second screen</a></p>`}
    ${can && html`<div class="row"><button class="button toggle" aria-pressed=${Boolean(value('crowd/open').value)} onClick=${() => press('crowd/open', !value('crowd/open').value)} ...${mapped('crowd/open')}>
      ${facts.open ? 'The crowd is in' : 'Let the crowd in'}</button>
      <button class="button shut" disabled=${!facts.open} onClick=${() => fire('crowd/shut')} ...${mapped('crowd/shut')}>Shut the crowd out</button></div>`}
    ${can && html`<h3>On the picture</h3><div class="row"><span>Code to join</span><${Choice} name="crowd/code" label="code to join" seg />
      ${facts.polls.length > 0 && html`<${Toggle} name="crowd/bars" label="Answers of the poll" />`}</div>`}
    ${facts.faders.length > 0 && html`<h3>Faders</h3><ul>${facts.faders.map((/** @type {Fader} */ one) => html`<li class="fader"><span>${one.labels[0]} – ${one.labels[1]}<small>${one.to}</small></span>
      <meter min="0" max="1" value=${one.value} aria-label=${one.name}></meter><output title="people who moved it lately">${one.votes} of ${line.heads ?? 0}</output>
      ${one.held && can ? html`<button class="button" title="you moved it: the crowd waits" onClick=${() => fire('crowd/back', one.to)}>Give back</button>` : html`<span class="faint">${one.held ? 'yours' : ''}</span>`}</li>`)}</ul>`}
    ${facts.polls.length > 0 && html`<h3>Polls</h3><${Asked} poll=${facts.poll} last=${facts.last} />
      ${can && html`<div class="row">${facts.polls.map((/** @type {string} */ name) => html`<button class="button" disabled=${!facts.open || facts.poll?.state === 'open'} onClick=${() => fire('crowd/poll', name)}>${name}</button>`)}</div>`}`}
    ${facts.words && html`<h3>Words</h3>${facts.words.now.length ? html`<ul>${facts.words.now.map((/** @type {string} */ word) => html`<li class="word"><b>${word}</b><output>now</output><span></span>
        ${can && html`<button class="button" onClick=${() => decide('crowd/refuse', word)}>Block</button>`}</li>`)}</ul>` : html`<p class="faint">none counts now</p>`}
      ${can && (facts.words.now.length > 0 || facts.words.waiting.length > 0) && html`<div class="row"><button class="button" onClick=${() => request('crowd/clear', {}).catch(error => say(String(error.message ?? error), true))}>Clear all words</button></div>`}
      ${facts.words.approves && html`<ul>${facts.words.waiting.map((/** @type {{word: string, count: number}} */ one) => html`<li class="word"><span>${one.word}</span><output>${one.count}</output>
        ${can && html`<button class="button" onClick=${() => decide('crowd/approve', one.word)}>Approve</button><button class="button" onClick=${() => decide('crowd/refuse', one.word)}>Block</button>`}</li>`)}
        ${!facts.words.waiting.length && html`<li class="faint">no word waits for you</li>`}</ul>`}`}</div>`;
}

/** @param {string} what
 * @param {string} word */
const decide = (what, word) => request(what, { word }).catch(error => say(String(error.message ?? error), true));

/** @param {{poll: Poll | null, last: string}} props */
function Asked({ poll, last }) {
  if (!poll) return html`<p class="faint">${last || 'none is open'}</p>`;
  const sum = poll.counts.reduce((a, b) => a + b, 0);
  return html`<div class="poll"><p><b>${poll.question}</b> <span class="faint">${poll.state === 'open' ? `${poll.seconds.toFixed(0)} s left` : poll.state === 'tied' ? 'tied: you decide' : poll.state === 'decided' ? 'waits for the beat' : 'decided'}</span></p>
    <ul>${poll.options.map((option, index) => html`<li class=${cls('option', poll.winner === index && 'won')}><span>${poll.images[index] && html`<img src=${poll.images[index]} alt="" />`}${option}</span><meter min="0" max=${Math.max(sum, 1)} value=${poll.counts[index]} aria-label=${option}></meter><output>${poll.counts[index]}</output>
      ${operator.value && poll.tied.includes(index) && html`<button class="button" onClick=${() => fire('crowd/choose', index + 1)}>Choose</button>`}</li>`)}</ul>
    ${operator.value && (poll.state === 'open' || poll.state === 'tied') && html`<div class="row"><button class="button" disabled=${poll.state === 'tied'} onClick=${() => fire('crowd/close')} ...${mapped('crowd/close')}>Close now</button><button class="button" onClick=${() => fire('crowd/cancel')} ...${mapped('crowd/cancel')}>Cancel</button></div>`}</div>`;
}
