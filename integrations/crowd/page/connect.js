/* The way to the server, for every page of the crowd: a websocket, or requests where there is none. Written for old
   phones (iOS 12, Chrome of Android 7). */
var crowd = (function () {
  'use strict';
  var POLL_MS = 2000, SLOWEST_MS = 10000, TRIES = 3;
  var texts = JSON.parse(document.body.getAttribute('data-texts'));
  var languages = JSON.parse(document.body.getAttribute('data-languages'));
  var language = document.documentElement.lang;

  function text(name, n) { return texts[name].replace('{n}', n) }

  /* A label of the show is a text, or texts by language. */
  function label(of) {
    if (of === null || typeof of !== 'object') return String(of);
    if (of[language]) return of[language];
    for (var name in of) if (!of.en) return of[name];
    return of.en || '';
  }

  function stored(name, value) {
    try {
      if (value !== undefined) sessionStorage.setItem(name, value);
      return sessionStorage.getItem(name);
    } catch (error) { return null }
  }

  /* A person is a random number of this tab. */
  function person() {
    var found = stored('person');
    if (!found) {
      var bytes = new Uint8Array(16);
      crypto.getRandomValues(bytes);
      found = Array.prototype.map.call(bytes, function (b) { return ('0' + b.toString(16)).slice(-2) }).join('');
      stored('person', found);
    }
    return found;
  }

  /* on(message): {show}, {live}, {own} of the server; {lost: true} while there is no way to it; {full: true}.
     watch: only looks on, and is no person. Returns a function that sends a message. */
  function connect(on, watch) {
    var here = location.href.replace(/[?#].*/, '').replace(/[^\/]*$/, '');  // also below a path of a tunnel
    var query = watch ? '' : '?person=' + person(), socket = null, failed = 0, waiting = [], polling = false;

    function open() {
      var opened = false, now;
      try {
        now = socket = new WebSocket(here.replace(/^http/, 'ws') + 'ws' + query);
      } catch (error) { return poll() }
      now.onopen = function () {
        opened = true;
        failed = 0;
        waiting.splice(0).forEach(send);
      };
      now.onmessage = function (event) { on(JSON.parse(event.data)) };
      now.onclose = function () {
        socket = null;
        on({lost: true});
        if (!opened) failed++;
        if (failed >= TRIES && !watch) return poll();
        setTimeout(open, Math.min(700 * (1 + failed), SLOWEST_MS) * (0.7 + Math.random() * 1.6));  // not all at once
      };
    }

    function ask(method, path, body, then) {
      var request = new XMLHttpRequest();
      request.open(method, path + query);
      request.timeout = 8000;
      request.onload = function () {
        var answer = null;
        if (request.status === 200) answer = JSON.parse(request.responseText);
        then(request.status, answer);
      };
      request.onerror = request.ontimeout = function () { then(0, null) };
      request.send(body);
    }

    function poll() {
      polling = true;
      ask('GET', 'state', null, function (status, answer) {
        if (answer) on(answer);
        else on(status === 503 ? {full: true} : {lost: true});
        setTimeout(poll, (answer ? POLL_MS : SLOWEST_MS / 2) * (0.8 + Math.random() * 0.4));
      });
    }

    function send(message) {
      var body = JSON.stringify(message);
      if (polling) ask('POST', 'say', body, function (status, answer) { if (answer) on(answer) });
      else if (socket && socket.readyState === 1) socket.send(body);
      else if (waiting.length < 8) waiting.push(message);
    }

    if (window.WebSocket) open(); else poll();
    return send;
  }

  function element(tag, attributes, children) {
    var made = document.createElement(tag);
    for (var name in attributes || {}) {
      if (name === 'text') made.textContent = attributes[name]; else made.setAttribute(name, attributes[name]);
    }
    (children || []).forEach(function (child) { if (child) made.appendChild(child) });
    return made;
  }

  function byId(id) { return document.getElementById(id) }

  /* Seconds that a poll has left, shown until `stop` is called. */
  function countdown(node, seconds) {
    var end = Date.now() + seconds * 1000;
    function show() {
      var left = Math.max(Math.ceil((end - Date.now()) / 1000), 0);
      node.textContent = left ? text('seconds', left) : '';
    }
    show();
    return setInterval(show, 500);
  }

  return {connect: connect, text: text, label: label, stored: stored, languages: languages, language: language,
    element: element, byId: byId, countdown: countdown};
})();
