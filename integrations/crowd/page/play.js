/* A phone as a player: a stick, buttons, whose turn it is. Written for old phones, like connect.js. */
(function () {
  'use strict';
  var SEND_MS = 50, TELL_MS = 120, SITS_MS = 1500;  // the last: in which the show gives a seat
  var byId = crowd.byId, show = null, seat = 0, wanted = false, lost = false, wasTurn = false, turnEnds = 0, askedAt = 0;
  var axes = [0, 0], down = {}, sent = '', timer = null, finger = null, keys = {};
  var send = crowd.connect(on);

  function on(message) {
    if (message.lost) lost = true; else lost = false;
    if (message.full) byId('message').textContent = crowd.text('full');
    if (message.show) {
      show = message.show;
      turnEnds = Date.now() + (show.play && show.play.left || 0) * 1000;
    }
    if (message.own && message.own.seat !== undefined) {
      if (wanted && !message.own.seat && seat) send({seat: true});  // the server was started again
      seat = message.own.seat;
      if (!seat) letGo();
    }
    draw();
  }

  function play() { return show && show.play || null }
  /* The number by which the performer knows this player; 0 before they have a seat there. */
  function number() { return play() && play().seats[seat] || 0 }
  function myTurn() { return Boolean(number()) && (play().all || play().turn === number()) }

  function draw() {
    var open = Boolean(show && show.open && show.players), seated = open && seat > 0, turn = seated && myTurn();
    var words = '', stands = seated && !number() && Date.now() - askedAt > SITS_MS;  // sent away, or idle for long
    if (lost) words = crowd.text('lost');
    else if (!show) words = '';
    else if (!open) words = crowd.text(show.open && !show.play ? 'phones' : 'closed');
    else if (!seat) words = wanted ? crowd.text('seats') : '';
    else if (!number()) words = stands && !play().free ? crowd.text('seats') : '';
    else words = crowd.text('seat', number()) + (turn && !play().all ? ' · ' + left() : '');
    byId('message').textContent = words;
    byId('join').hidden = !open || seat > 0 && !(stands && play().free);
    byId('stick').hidden = byId('buttons').hidden = !seated;
    byId('leave').hidden = !seated;
    document.body.className = 'play' + (turn ? ' turn' : seated ? ' waiting' : '');
    if (turn && !wasTurn && navigator.vibrate) {
      try { navigator.vibrate([TELL_MS, 60, TELL_MS]) } catch (error) { /* it is not allowed here */ }
    }
    wasTurn = turn;
    if (seated) drawButtons(play() ? play().buttons : []);
  }

  function left() { return crowd.text('seconds', Math.max(Math.ceil((turnEnds - Date.now()) / 1000), 0)) }

  var drawn = '';
  function drawButtons(list) {
    if (JSON.stringify(list) === drawn) return;
    drawn = JSON.stringify(list);
    var box = byId('buttons');
    box.textContent = '';
    list.forEach(function (one) {
      var made = crowd.element('button', {type: 'button', 'data-name': one[0], text: one[1]});
      function press(is) {
        return function (event) {
          event.preventDefault();
          if (is) down[one[0]] = true; else delete down[one[0]];
          made.className = is ? 'down' : '';
          tell();
        };
      }
      ['touchstart', 'mousedown'].forEach(function (name) { made.addEventListener(name, press(true)) });
      ['touchend', 'touchcancel', 'mouseup', 'mouseleave'].forEach(function (name) { made.addEventListener(name, press(false)) });
      box.appendChild(made);
    });
  }

  /* At most every SEND_MS, and always the last state. */
  function tell() {
    if (timer || !seat) return;
    var state = JSON.stringify([axes, Object.keys(down)]);
    if (state === sent) return;
    sent = state;
    send({play: {axes: axes, buttons: Object.keys(down)}});
    timer = setTimeout(function () { timer = null; tell() }, SEND_MS);
  }

  function letGo() {
    axes = [0, 0];
    down = {};
    keys = {};
    finger = null;
    knob();
    tell();
  }

  function knob() {
    var style = byId('knob').style;
    style.left = 50 + axes[0] * 31 + '%';
    style.top = 50 - axes[1] * 31 + '%';
  }

  function push(x, y) {
    var far = Math.sqrt(x * x + y * y), most = far > 1 ? 1 / far : 1;
    axes = far < 0.12 ? [0, 0] : [Math.round(x * most * 50) / 50, Math.round(y * most * 50) / 50];
    knob();
    tell();
  }

  function at(point) {
    var box = byId('stick').getBoundingClientRect(), half = box.width / 2;
    push((point.clientX - box.left - half) / half, -(point.clientY - box.top - half) / half);
  }

  var stick = byId('stick');
  function mine(list) {
    for (var i = 0; i < list.length; i++) if (list[i].identifier === finger) return list[i];
    return null;
  }
  stick.addEventListener('touchstart', function (event) {
    event.preventDefault();
    if (finger !== null) return;
    finger = event.changedTouches[0].identifier;
    at(event.changedTouches[0]);
  });
  stick.addEventListener('touchmove', function (event) {
    event.preventDefault();
    var touch = mine(event.changedTouches);
    if (touch) at(touch);
  });
  ['touchend', 'touchcancel'].forEach(function (name) {
    stick.addEventListener(name, function (event) {
      if (!mine(event.changedTouches)) return;
      finger = null;
      push(0, 0);
    });
  });
  stick.addEventListener('mousedown', function (event) { finger = 'mouse'; at(event) });
  addEventListener('mousemove', function (event) { if (finger === 'mouse') at(event) });
  addEventListener('mouseup', function () {
    if (finger !== 'mouse') return;
    finger = null;
    push(0, 0);
  });

  /* A computer plays too. */
  function key(event) {
    var known = {ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0]}, x = 0, y = 0;
    if (!seat || !known[event.key]) return;
    event.preventDefault();
    if (event.type === 'keydown') keys[event.key] = true; else delete keys[event.key];
    for (var name in keys) { x += known[name][0]; y += known[name][1] }
    push(x, y);
  }
  addEventListener('keydown', key);
  addEventListener('keyup', key);

  byId('join').textContent = crowd.text('play');
  byId('leave').textContent = crowd.text('leave');
  byId('join').addEventListener('click', function () {
    askedAt = Date.now();
    wanted = true;
    if (!seat) return send({seat: true});
    down.start = true;  // the first press takes a seat
    tell();
    setTimeout(function () { delete down.start; tell() }, 2 * SEND_MS);
  });
  byId('leave').addEventListener('click', function () { letGo(); wanted = false; send({seat: false}) });
  ['blur', 'pagehide'].forEach(function (name) { addEventListener(name, letGo) });
  document.addEventListener('visibilitychange', function () { if (document.hidden) letGo() });
  setInterval(draw, 500);
  draw();
})();
