// Gamepads at this browser, by the show's maps. Where the show itself reads the gamepads of this machine, the page leaves them to it.

import { hold, set, unhold } from './socket.js';
import { grab, onBus, operator, parameter, show, status } from './state.js';
import { act } from './keyboard.js';

const BUTTONS = ['a', 'b', 'x', 'y', 'left_bumper', 'right_bumper', 'left_trigger', 'right_trigger', 'back', 'start', 'left_thumb', 'right_thumb', 'dpad_up', 'dpad_down', 'dpad_left', 'dpad_right', 'guide'];
const AXES = ['left_x', 'left_y', 'right_x', 'right_y'];
const DEAD = 0.15;
/** What ends a pressed button, by gamepad and button. @type {Map<string, (() => void) | undefined>} */
const pressed = new Map();
/** The last value of each axis. @type {Map<string, number>} */
const last = new Map();

const here = /^(localhost|127\.|\[::1\])/.test(location.hostname);
const othersRead = () => here && status.peek().inputs.gamepad?.state === 'running';

/** Where an axis stands in the range of what it plays.
 * @param {number} x -1..1, or 0..1 of a trigger
 * @param {import('./state.js').Mapping} map
 * @param {boolean} trigger */
export function along(x, { low, high, curve }, trigger) {
  const far = Math.abs(x) < DEAD ? 0 : Math.sign(x) * ((Math.abs(x) - DEAD) / (1 - DEAD));
  const bent = curve === 'exp' ? far * Math.abs(far) : curve === 'log' ? Math.sign(far) * Math.sqrt(Math.abs(far)) : far;
  const from = low ?? -1, to = high ?? 1;
  return from + (trigger ? bent : (bent + 1) / 2) * (to - from);
}

function poll() {
  const pads = navigator.getGamepads().filter(pad => pad !== null);
  if (pads.length) requestAnimationFrame(poll);
  if (!operator.peek() || othersRead()) return;
  const maps = show.peek().maps.filter(map => map.kind === 'gamepad');
  for (const pad of pads) {
    pad.buttons.forEach((button, i) => {
      const id = `${pad.index}/${i}`;
      if (button.pressed === pressed.has(id) || BUTTONS[i].endsWith('trigger')) return;
      if (!button.pressed) {
        pressed.get(id)?.();
        pressed.delete(id);
        return;
      }
      const map = maps.find(one => one.source?.button === BUTTONS[i]);
      pressed.set(id, map && act(map.to));
    });
    for (const map of maps) {
      const axis = map.source?.axis;
      if (!axis || !parameter(map.to)) continue;
      const trigger = axis.endsWith('trigger'), raw = trigger ? pad.buttons[BUTTONS.indexOf(axis)]?.value ?? 0 : (pad.axes[AXES.indexOf(axis)] ?? 0) * (axis.endsWith('_y') ? -1 : 1);
      const id = `${pad.index}/${axis}/${map.to}`, now = Math.abs(raw) < DEAD ? 0 : raw, before = last.get(id) ?? 0;
      if (Math.abs(now - before) < 0.005) continue;
      last.set(id, now);
      const name = onBus(map.to);
      const pushed = now !== 0 && map.to.startsWith('cam/'); // a stick that moves the camera is let go with the page
      if (pushed) hold(name, along(0, map, trigger));
      else grab(name);
      set(name, along(now, map, trigger));
      if (!pushed) unhold(name);
    }
  }
}

export function listen() {
  addEventListener('gamepadconnected', poll);
}
