/* The second screen: how to join, and the bars of the poll. */
(function () {
  'use strict';
  var byId = crowd.byId, element = crowd.element, text = crowd.text, label = crowd.label;
  var poll = null, rows = [], key = '', timer = null, open = false, lost = false;

  function draw(show) {
    open = show.open;
    if (show.title) byId('title').textContent = label(show.title);
    if (show.url && byId('address').textContent !== show.url) {
      byId('address').textContent = show.url;
      document.querySelector('#code img').src = 'qr.svg?' + encodeURIComponent(show.url);
    }
    byId('address').textContent = show.url.replace(/^https?:\/\//, '').replace(/\/$/, '');
    poll = show.poll;
    document.body.classList.toggle('polling', !!poll && open);
    byId('poll').hidden = !poll || !open;
    var found = poll ? JSON.stringify([poll.id, poll.question, poll.options]) : '';
    clearInterval(timer);
    if (found !== key) {
      key = found;
      rows = [];
      byId('poll').textContent = '';
      if (!poll) return;
      byId('poll').appendChild(element('h2', {text: label(poll.question || '') || text('vote'), dir: 'auto'}));
      byId('poll').appendChild(element('p', {id: 'left'}));
      poll.options.forEach(function (option) {
        var bar = element('span', {'class': 'bar'}), share = element('span', {'class': 'share'});
        var row = element('div', {'class': 'row'}, [bar, element('span', {text: label(option.label), dir: 'auto', 'class': 'label'}), share]);
        rows.push({row: row, bar: bar, share: share});
        byId('poll').appendChild(row);
      });
    }
    if (!poll) return;
    if (typeof poll.winner === 'number') byId('left').textContent = text('over');
    else timer = crowd.countdown(byId('left'), poll.seconds);
    rows.forEach(function (row, index) { row.row.classList.toggle('winner', index === poll.winner) });
  }

  function live(news) {
    byId('message').textContent = !open ? text('closed') : text('people', news.heads || 0);
    var counts = news.counts || [], all = counts.reduce(function (a, b) { return a + b }, 0);
    rows.forEach(function (row, index) {
      var share = all && counts[index] ? counts[index] / all : 0;
      row.bar.style.width = share * 100 + '%';
      row.share.textContent = all ? Math.round(share * 100) + '%' : '';
    });
  }

  byId('scan').textContent = text('scan');
  var news = {};
  crowd.connect(function (message) {
    if (message.show) draw(message.show);
    if (message.live) news = message.live;
    if (!message.lost) live(news);
  }, true);
})();
