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
        if (style.overflowX !== 'visible' || style.overflowY !== 'visible') break;
        const by = [box.right - outer.right, outer.left - box.left, box.bottom - outer.bottom, outer.top - box.top].map(Math.round);
        if (Math.max(...by) <= 1) continue;
        found.push(`${e.tagName}.${e.className} beyond ${p.tagName}.${p.className} by ${by}`);
        break;
      }
    }
    return found.slice(0, 8);
  },

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
