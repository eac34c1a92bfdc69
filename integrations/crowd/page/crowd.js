/* The join page: faders, the poll, words. */
(function () {
  'use strict';
  var byId = crowd.byId, element = crowd.element, text = crowd.text, label = crowd.label;
  var SEND_MS = 250, HOLD_MS = 30000;
  var show = null, own = {}, moved = {}, rows = {}, options = [], timer = null, fadersKey = '', pollKey = '', vocabularyKey = '';
  var fresh = true;  // nothing of this phone is known to the server yet
  var rtl = document.documentElement.dir === 'rtl';

  function say(message) { byId('message').textContent = message || '' }

  function on(message) {
    if (message.lost) { fresh = true; return say(text('lost')) }
    if (message.full) return say(text('full'));
    if (message.show) { show = message.show; draw() }
    if (message.live) live(message.live);
    if (message.own) mine(message.own, fresh);
    fresh = fresh && !message.own;
  }

  function draw() {
    var idle = !show.faders.length && !show.poll && !show.words && !show.players;
    say(!show.open ? text('closed') : idle ? text('idle') : '');
    if (show.title) byId('title').textContent = document.title = label(show.title);
    drawFaders();
    drawPoll();
    byId('words').hidden = !(show.open && show.words);
    byId('play').hidden = !(show.open && show.players);
    var key = JSON.stringify(show.vocabulary);
    if (key !== vocabularyKey) {
      vocabularyKey = key;
      byId('vocabulary').textContent = '';
      show.vocabulary.forEach(function (word) { byId('vocabulary').appendChild(element('option', {value: word})) });
    }
  }

  /* -- faders */
  function drawFaders() {
    var box = byId('faders'), key = JSON.stringify(show.faders);
    box.hidden = !show.open || !show.faders.length;
    if (key === fadersKey) return;
    fadersKey = key;
    rows = {};
    box.textContent = '';
    show.faders.forEach(function (fader) {
      var low = label(fader.low || ''), high = label(fader.high || '');
      var input = element('input', {type: 'range', min: 0, max: 100, step: 1, 'aria-label': low + ' – ' + high});
      var mark = element('span', {'class': 'mark', 'aria-hidden': 'true'});
      var known = moved[fader.name];
      input.value = known ? Math.round(known.value * 100) : 50;
      function spoken() { input.setAttribute('aria-valuetext', input.value + '%') }
      spoken();
      input.addEventListener('input', function () { spoken(); move(fader.name, input.value / 100) });
      rows[fader.name] = {mark: mark};
      box.appendChild(element('div', {'class': 'fader'}, [
        element('div', {'class': 'ends', 'aria-hidden': 'true'}, [element('span', {text: low, dir: 'auto'}), element('span', {text: high, dir: 'auto'})]),
        element('div', {'class': 'track'}, [mark, input])]));
    });
    if (show.faders.length) box.appendChild(element('p', {'class': 'key', 'aria-hidden': 'true'}, [element('i'), element('span', {text: text('room')})]));
  }

  function move(name, value) {
    var fader = moved[name] || (moved[name] = {timer: null, sent: 0});
    fader.value = value;
    fader.at = Date.now();
    if (fader.timer) return;
    fader.timer = setTimeout(function () {
      fader.timer = null;
      fader.sent = Date.now();
      send({fader: [name, fader.value]});
    }, Math.max(fader.sent + SEND_MS - Date.now(), 0));
  }

  /* -- the poll */
  function drawPoll() {
    var poll = show.poll, box = byId('poll'), key = poll ? JSON.stringify([poll.id, poll.question, poll.options]) : '';
    box.hidden = !show.open || !poll;
    if (key !== pollKey) {
      pollKey = key;
      box.textContent = '';
      options = [];
      if (!poll) return clearInterval(timer);
      box.appendChild(element('h2', {text: label(poll.question || '') || text('vote'), dir: 'auto', id: 'question'}));
      box.appendChild(element('p', {id: 'left'}));
      var list = element('div', {role: 'group', 'aria-labelledby': 'question', 'class': 'options'});
      poll.options.forEach(function (option, index) {
        var bar = element('span', {'class': 'bar', 'aria-hidden': 'true'}), share = element('span', {'class': 'share'});
        var image = option.image ? element('img', {src: option.image, alt: ''}) : null;
        var button = element('button', {type: 'button', 'aria-pressed': 'false'},
          [bar, image, element('span', {'class': 'label', text: label(option.label), dir: 'auto'}), share]);
        button.addEventListener('click', function () { if (!over()) send({vote: [poll.id, index]}) });
        options.push({button: button, bar: bar, share: share});
        list.appendChild(button);
      });
      box.appendChild(list);
      box.appendChild(element('p', {id: 'voted', role: 'status'}));
    }
    if (!poll) return;
    clearInterval(timer);
    if (over()) byId('left').textContent = ''; else timer = crowd.countdown(byId('left'), poll.seconds);
    pressed();
  }

  function over() { return !show.poll || typeof show.poll.winner === 'number' }

  function pressed() {
    var poll = show && show.poll, mine = poll && own.vote && own.vote[0] === poll.id ? own.vote[1] : -1;
    if (!poll) return;
    options.forEach(function (option, index) {
      option.button.setAttribute('aria-pressed', String(index === mine));
      option.button.classList.toggle('winner', index === poll.winner);
      option.button.disabled = over();
    });
    byId('voted').textContent = over() ? text('over') : mine >= 0 ? text('voted') : '';
  }

  /* -- what everybody sees, and what only this phone does */
  function live(news) {
    byId('heads').textContent = text('people', news.heads || 0);
    for (var name in rows) {
      var at = news.faders && news.faders[name];
      rows[name].mark.hidden = typeof at !== 'number';
      if (typeof at === 'number') rows[name].mark.style[rtl ? 'right' : 'left'] = at * 100 + '%';
    }
    var counts = news.counts || [], all = counts.reduce(function (a, b) { return a + b }, 0);
    options.forEach(function (option, index) {
      var share = all && counts[index] ? counts[index] / all : 0;
      option.bar.style.width = share * 100 + '%';
      option.share.textContent = all ? Math.round(share * 100) + '%' : '';
    });
  }

  function mine(news, hello) {
    if (hello) {  // a server that started again is told what this phone had chosen
      if (!news.vote && own.vote && show && show.poll && own.vote[0] === show.poll.id) send({vote: own.vote});
      for (var name in moved) if (Date.now() - moved[name].at < HOLD_MS) send({fader: [name, moved[name].value]});
    }
    if (news.vote) { own.vote = news.vote; pressed() }
    if (news.word) {
      byId('word-answer').textContent = text(news.word);
      if (news.word === 'taken') byId('word').value = '';
    }
  }

  byId('words').addEventListener('submit', function (event) {
    event.preventDefault();
    var word = byId('word').value.trim();
    if (word) send({word: word});
  });

  /* -- words of the page itself */
  byId('word-label').textContent = text('word');
  byId('send').textContent = text('send');
  byId('play').textContent = text('play');
  byId('privacy').textContent = text('privacy');
  byId('language-label').textContent = text('language');
  Object.keys(crowd.languages).forEach(function (name) {
    byId('language').appendChild(element('option', {value: name, lang: name, text: crowd.languages[name]}));
  });
  byId('language').value = crowd.language;
  byId('language').addEventListener('change', function () { location.search = '?lang=' + byId('language').value });

  say(text('lost'));
  var send = crowd.connect(on);
})();
