// The picture of a bus: WebRTC (WHEP), or a series of JPEGs where that does not work, joined again for ever.

/** @param {number} ms */
const wait = ms => new Promise(done => setTimeout(done, ms));

/** @typedef {{way: string, width: number, height: number}} Picture */

/** Show a bus in `stage` until the returned function is called.
 * @param {string} bus
 * @param {HTMLElement} stage
 * @param {(picture: Picture | null) => void} onChange */
export function watch(bus, stage, onChange) {
  const gone = new AbortController();
  let shown = false, failures = 0;
  /** @param {HTMLElement} element
   * @param {Picture} picture */
  const front = (element, picture) => {
    if (!element.isConnected) stage.append(element);
    element.classList.add('on');
    for (const other of stage.querySelectorAll('.on')) if (other !== element) other.remove(); // no black in between
    shown = true;
    onChange(picture);
  };
  (async () => {
    while (!gone.signal.aborted) {
      while (document.hidden && !gone.signal.aborted) await wait(200); // nobody looks: nothing is encoded
      if (gone.signal.aborted) break;
      const stop = new AbortController(), end = () => stop.abort();
      gone.signal.addEventListener('abort', end, { once: true });
      const hide = () => { if (document.hidden) end(); };
      document.addEventListener('visibilitychange', hide);
      await connect(bus, stage, stop, front).catch(() => {});
      end();
      document.removeEventListener('visibilitychange', hide);
      gone.signal.removeEventListener('abort', end);
      if (shown && !gone.signal.aborted && !document.hidden) onChange(null);
      failures = shown ? 0 : Math.min(failures + 1, 4);
      shown = false;
      await wait(700 * (failures || 1));
    }
    stage.replaceChildren();
  })();
  return () => gone.abort();
}

/** One connection. JPEGs fill in while WebRTC is slow to start, and end when it has a frame.
 * @param {string} bus
 * @param {HTMLElement} stage
 * @param {AbortController} stop
 * @param {(element: HTMLElement, picture: Picture) => void} front */
async function connect(bus, stage, stop, front) {
  const jpegsEnd = new AbortController();
  stop.signal.addEventListener('abort', () => jpegsEnd.abort(), { once: true });
  /** @type {Promise<void> | null} */ let jpegs = null;
  const meanwhile = () => jpegs ??= mjpeg(bus, stage, jpegsEnd.signal, front);
  if (!window.RTCPeerConnection || new URLSearchParams(location.search).has('mjpeg')) return meanwhile();
  const late = setTimeout(() => meanwhile().catch(() => {}), 1500);
  const any = await webrtc(bus, stage, stop.signal, (element, picture) => {
    clearTimeout(late);
    jpegsEnd.abort();
    front(element, picture);
  }).catch(() => false);
  clearTimeout(late);
  if (!any && !stop.signal.aborted) await meanwhile();
}

/** Resolves when frames stop, to whether there were any.
 * @param {string} bus
 * @param {HTMLElement} stage
 * @param {AbortSignal} signal
 * @param {(element: HTMLElement, picture: Picture) => void} front */
async function webrtc(bus, stage, signal, front) {
  const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' }), video = document.createElement('video');
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, disablePictureInPicture: true });
  /** @type {() => void} */ let end = () => {};
  const ended = /** @type {Promise<void>} */ (new Promise(done => end = done));
  signal.addEventListener('abort', () => end(), { once: true });
  let started = false, last = performance.now(), place = '', watchdog = 0;
  try {
    const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
    for (const wish of ['jitterBufferTarget', 'playoutDelayHint']) if (wish in receiver) Object.assign(receiver, { [wish]: 0 });
    peer.ontrack = ({ track }) => {
      video.srcObject = new MediaStream([track]);
      video.play().catch(() => {});
    };
    peer.onconnectionstatechange = () => { if (['failed', 'closed'].includes(peer.connectionState)) end(); };
    video.onloadeddata = () => {
      if (peer.signalingState === 'closed' || !video.videoWidth) return;
      started = true;
      front(video, { way: 'WebRTC', width: video.videoWidth, height: video.videoHeight });
    };
    const frame = () => {
      last = performance.now();
      video.requestVideoFrameCallback(frame);
    };
    if ('requestVideoFrameCallback' in video) video.requestVideoFrameCallback(frame);
    else Object.assign(video, { ontimeupdate: () => last = performance.now() });
    stage.append(video);
    await peer.setLocalDescription(await peer.createOffer());
    const response = await fetch(`${bus}/offer`, {
      method: 'POST', body: peer.localDescription?.sdp, headers: { 'Content-Type': 'application/sdp' },
      signal: AbortSignal.any?.([signal, AbortSignal.timeout(5000)]) ?? signal,
    });
    if (!response.ok) return false;
    place = response.headers.get('Location') ?? '';
    await peer.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    const begun = performance.now();
    watchdog = window.setInterval(() => {
      const patience = started ? 3000 : peer.connectionState === 'connected' ? 8000 : 5000;
      if (performance.now() - (started ? last : begun) > patience) end();
    }, 400);
    await ended;
    return started;
  } finally {
    clearInterval(watchdog);
    peer.close();
    if (!started) video.remove();
    if (place) fetch(place, { method: 'DELETE', keepalive: true }).catch(() => {});
  }
}

/** Read here rather than by <img>, which would show neither the end of the series nor that it stands still.
 * @param {string} bus
 * @param {HTMLElement} stage
 * @param {AbortSignal} signal
 * @param {(element: HTMLElement, picture: Picture) => void} front */
async function mjpeg(bus, stage, signal, front) {
  const response = await fetch(`${bus}/video.mjpeg`, { cache: 'no-store', signal });
  if (!response.ok || !response.body) throw new Error(response.statusText);
  const reader = response.body.getReader(), canvas = document.createElement('canvas');
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
  let bytes = new Uint8Array(0), drawing = false, alarm = 0;
  /** @type {Uint8Array<ArrayBuffer> | null} */ let newest = null;
  const alive = () => {
    clearTimeout(alarm);
    alarm = window.setTimeout(() => reader.cancel().catch(() => {}), 4000);
  };
  async function draw() {
    if (drawing) return;
    drawing = true;
    while (newest) {
      const jpeg = newest;
      newest = null;
      try {
        const frame = await createImageBitmap(new Blob([jpeg], { type: 'image/jpeg' }));
        if (signal.aborted) break;
        if (canvas.width !== frame.width || canvas.height !== frame.height) [canvas.width, canvas.height] = [frame.width, frame.height];
        pen.drawImage(frame, 0, 0);
        if (!canvas.isConnected) {
          front(canvas, { way: 'JPEG', width: frame.width, height: frame.height });
        }
        frame.close();
      } catch { /* a broken frame: the next one is near */ }
    }
    drawing = false;
  }
  try {
    for (;;) {
      alive();
      const { value, done } = await reader.read();
      if (done) return;
      const more = new Uint8Array(bytes.length + value.length);
      more.set(bytes);
      more.set(value, bytes.length);
      bytes = more;
      for (;;) {
        const head = new TextDecoder('latin1').decode(bytes.subarray(0, 400)), end = head.indexOf('\r\n\r\n');
        const length = /Content-Length: (\d+)/i.exec(head);
        if (end < 0 || !length || bytes.length < end + 4 + Number(length[1])) break;
        newest = bytes.slice(end + 4, end + 4 + Number(length[1]));
        bytes = bytes.slice(end + 4 + Number(length[1]));
      }
      draw();
    }
  } finally {
    clearTimeout(alarm);
  }
}
