// What the tests ask of the surface's page, run inside it: `(this file).nameless()`.
({
  /** Elements that are played or typed into, and that a screen reader could not name. */
  nameless: () => [...document.querySelectorAll('button, select, input, a, [role=slider], [tabindex="0"]')]
    .filter(e => e.checkVisibility() && !e.classList.contains('body'))
    .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')?.textContent.trim()))
    .map(e => e.outerHTML.slice(0, 120)),

  /** How many such elements there are, and how many of them the Tab key reaches. */
  reached: () => {
    const all = [...document.querySelectorAll('button, select, input, [role=slider]')].filter(e => !e.disabled && e.checkVisibility());
    return [all.length, all.filter(e => e.tabIndex === 0).length];
  },

  /** Elements that reach beyond one that holds them, up to the next that scrolls or clips. */
  overflowing: () => {
    const found = document.documentElement.scrollWidth > innerWidth ? ['the page is wider than the screen'] : [];
    for (const e of document.querySelectorAll('#surface *')) {
      if (!e.checkVisibility() || e.closest('svg, .stage, .prompt-list, dialog') || getComputedStyle(e).position === 'fixed') continue;
      const box = e.getBoundingClientRect();
      if (!box.width || !box.height) continue;
      for (let p = e.parentElement; p && p.id !== 'surface'; p = p.parentElement) {
        const style = getComputedStyle(p), outer = p.getBoundingClientRect();
        if (style.display === 'contents') continue; // it has no box
        if (style.overflowX !== 'visible' || style.overflowY !== 'visible') break;
        const by = [box.right - outer.right, outer.left - box.left, box.bottom - outer.bottom, outer.top - box.top].map(Math.round);
        if (Math.max(...by) <= 1) continue;
        found.push(`${e.tagName}.${e.className} beyond ${p.tagName}.${p.className} by ${by}`);
        break;
      }
    }
    return found.slice(0, 8);
  },

  /** Panels that lie over each other, as the names of both. */
  overlapping: () => {
    const all = [...document.querySelectorAll('.top, .screen, .take, .panel, .phone main, .phone nav')].filter(e => e.checkVisibility());
    const inView = e => { // of what scrolls in a phone's part, that which is seen
      const box = e.getBoundingClientRect(), port = e.closest('.phone main')?.getBoundingClientRect() ?? box;
      return [Math.max(box.left, port.left), Math.max(box.top, port.top), Math.min(box.right, port.right), Math.min(box.bottom, port.bottom)];
    };
    const found = [];
    for (const [i, one] of all.entries()) for (const other of all.slice(i + 1)) {
      if (one.contains(other) || other.contains(one)) continue;
      const a = inView(one), b = inView(other);
      if (Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 1 && Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 1) found.push(`${one.className} over ${other.className}`);
    }
    return found;
  },

  /** Pads that are smaller than a finger needs, or that scrolling does not bring into view. */
  unplayable: () => [...document.querySelectorAll('.pad')].filter(pad => {
    pad.scrollIntoView({ block: 'center' });
    const { x, y, width, height } = pad.getBoundingClientRect(), at = dy => document.elementFromPoint(x + width / 2, y + dy);
    return width < 40 || height < 36 || !pad.contains(at(4)) || !pad.contains(at(height - 4));
  }).map(pad => `${pad.getAttribute('aria-label')}: ${Math.round(pad.clientWidth)}x${Math.round(pad.clientHeight)}`),

  /** How much redder than blue the picture of a bus is, 0..255; null where there is none. */
  red: (bus = 'program') => {
    const shown = document.querySelector(`.screen.${bus} .on`), copy = document.createElement('canvas');
    [copy.width, copy.height] = [64, 36];
    if (!shown) return null;
    const pen = copy.getContext('2d', { willReadFrequently: true });
    pen.drawImage(shown, 0, 0, 64, 36);
    const { data } = pen.getImageData(0, 0, 64, 36);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum += data[i] - data[i + 2];
    return sum / (data.length / 4);
  },

  /** A drag within one frame, from a place on an element, in shares of its size. No machine is too slow to tell it from a longer press. */
  quickDrag: (selector, x, y, dx, dy) => {
    const dragged = document.querySelector(selector), box = dragged.getBoundingClientRect();
    dragged.setPointerCapture = () => {};
    const at = (type, part) => dragged.dispatchEvent(new PointerEvent(type, {
      pointerId: 7, bubbles: true, button: 0, clientX: box.x + box.width * x + dx * part, clientY: box.y + box.height * y + dy * part,
    }));
    at('pointerdown', 0);
    for (let i = 1; i <= 8; i++) at('pointermove', i / 8);
    at('pointerup', 1);
  },

  /** A drag of 750 moves over a slider within one frame. */
  fastDrag: selector => {
    const slider = document.querySelector(selector), box = slider.getBoundingClientRect();
    slider.setPointerCapture = () => {};
    const at = (type, i) => slider.dispatchEvent(new PointerEvent(type, {
      pointerId: 7, bubbles: true, button: 0, clientX: box.x + (box.width * (i % 100)) / 100, clientY: box.y + 5,
    }));
    at('pointerdown', 0);
    for (let i = 0; i <= 750; i++) at('pointermove', i);
    at('pointerup', 750);
  },
})
