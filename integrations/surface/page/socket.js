// The line to the show: one websocket that is made again for ever. Values are latest-wins, one message a frame; triggers are never
// doubled, and while there is no line they are refused rather than kept, since a late one would surprise.

import { begin, grab, learn, letGo, line, notice, operator, say, setShow, setStatus, value } from './state.js';

const SILENCE_MS = 6000; // the status comes ten times a second: after that the line is dead
const BACKOFF_MS = [250, 500, 1000, 2000, 4000];
const REPLY_MS = 30000;

/** @type {WebSocket | null} */ let socket = null;
let tries = 0, heardAt = 0, nextId = 1;
/** @type {Record<string, any>} */ let waiting = {};
let flushing = false;
/** @type {Map<number, {done: (result: any) => void, fail: (error: Error) => void, timer: number}>} */
const asked = new Map();

/** What this page holds, as with a finger, and what each is when let go: the server lets it go for a page that is gone.
 * @type {Map<string, any>} */
const holding = new Map();

/** @param {object} message */
function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

function flush() {
  flushing = false;
  const values = waiting;
  waiting = {};
  if (Object.keys(values).length) send({ set: values });
}

/** Set a parameter: shown at once, sent with the next frame, the newest value of each name only.
 * @param {string} name
 * @param {any} worth */
export function set(name, worth) {
  if (!operator.peek() || line.peek() !== 'open') return;
  value(name).value = worth;
  waiting[name] = worth;
  if (flushing) return;
  flushing = true;
  if (document.hidden) setTimeout(flush, 16); // no frames are drawn where nobody looks
  else requestAnimationFrame(flush);
}

/** Set a parameter by a single press, so that an older echo does not flicker back.
 * @param {string} name
 * @param {any} worth */
export function press(name, worth) {
  grab(name);
  set(name, worth);
  letGo(name);
}

/** A value that lasts only while a finger or a key is down.
 * @param {string} name
 * @param {any} rest what it is when let go */
export function hold(name, rest) {
  grab(name);
  if (!operator.peek() || holding.get(name) === rest) return;
  holding.set(name, rest);
  send({ hold: { [name]: rest } });
}

/** The finger is gone, and has set the value to what stays.
 * @param {string} name */
export function unhold(name) {
  letGo(name);
  if (!holding.delete(name)) return;
  flush(); // what was set comes first
  send({ release: [name] });
}

/** Nobody looks at this page any more: nobody can let go either. */
function letAllGo() {
  if (!holding.size) return;
  for (const [name, rest] of holding) set(name, rest);
  for (const name of [...holding.keys()]) unhold(name);
}
addEventListener('pagehide', letAllGo);
document.addEventListener('visibilitychange', () => { if (document.hidden) letAllGo(); });

/** Fire a trigger, or set a text with its seconds.
 * @param {string} name
 * @param {...any} args */
export function fire(name, ...args) {
  if (!operator.peek()) return;
  if (flushing) flush(); // in the order in which they were played
  if (!send({ fire: [name, ...args] })) say('Not sent: there is no connection to the show', true);
}

/** Ask for something. Rejects with one plain line.
 * @param {string} what
 * @param {Record<string, any>} [fields]
 * @returns {Promise<any>} */
export function request(what, fields = {}) {
  const id = nextId++;
  return new Promise((done, fail) => {
    const timer = window.setTimeout(() => {
      asked.delete(id);
      fail(new Error(`${what}: no answer from the show`));
    }, REPLY_MS);
    asked.set(id, { done, fail, timer });
    if (!send({ request: { id, do: what, ...fields } })) {
      clearTimeout(timer);
      asked.delete(id);
      fail(new Error('There is no connection to the show'));
    }
  });
}

/** Ask, and show the error, if any. Resolves to undefined then.
 * @param {string} what
 * @param {Record<string, any>} [fields] */
export const ask = (what, fields) => request(what, fields).then(result => {
  if (notice.peek()?.bad) notice.value = null; // it is no longer so
  return result;
}, error => say(error.message, true));

/** Send a file into the show's folder.
 * @param {File} file
 * @returns {Promise<string>} its path in the show */
export async function upload(file) {
  const answer = await fetch(`files?name=${encodeURIComponent(file.name)}`, { method: 'POST', body: file });
  if (!answer.ok) throw new Error((await answer.text()) || `${file.name} was not taken`);
  return (await answer.json()).path;
}

/** @param {MessageEvent} event */
function receive(event) {
  heardAt = performance.now();
  const message = JSON.parse(event.data);
  if (message.hello) {
    begin(message.hello);
    tries = 0;
    line.value = 'open';
    if (holding.size) send({ hold: Object.fromEntries(holding) });
  }
  if (message.values) learn(message.values);
  if (message.status) setStatus(message.status);
  if (message.show) setShow(message.show);
  if (message.message) say(message.message.text, message.message.level === 'error');
  if (message.reply) {
    const { id, result, error } = message.reply, waiter = asked.get(id);
    if (!waiter) return;
    asked.delete(id);
    clearTimeout(waiter.timer);
    if (error === undefined) waiter.done(result);
    else waiter.fail(new Error(error));
  }
}

function lost() {
  socket = null;
  line.value = tries ? 'lost' : 'connecting';
  waiting = {};
  for (const { fail, timer } of asked.values()) {
    clearTimeout(timer);
    fail(new Error('The connection to the show was lost'));
  }
  asked.clear();
  clearTimeout(again);
  again = window.setTimeout(connect, BACKOFF_MS[Math.min(tries++, BACKOFF_MS.length - 1)]);
}

let again = 0;
export function connect() {
  clearTimeout(again);
  if (socket) return;
  const mine = new WebSocket(new URL('ws', document.baseURI.replace(/^http/, 'ws')));
  socket = mine;
  heardAt = performance.now();
  mine.onmessage = event => { if (socket === mine) receive(event); };
  mine.onclose = () => { if (socket === mine) lost(); };
}

/** Give up a line that looks open but is not, as after sleep or a change of network. */
function drop() {
  const old = socket;
  if (!old) return;
  lost();
  old.close();
}

function look() {
  if (document.hidden || performance.now() - heardAt < SILENCE_MS) return;
  tries = 0;
  drop();
}
setInterval(look, 1000);
/** Somebody looks again, or the network is back: do not wait for the next try. */
function hurry() {
  look();
  if (!socket) {
    tries = 0;
    connect();
  }
}
addEventListener('online', hurry);
addEventListener('pageshow', hurry);
document.addEventListener('visibilitychange', () => { if (!document.hidden) hurry(); });
