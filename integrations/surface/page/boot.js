// Opens the page; where one of its files did not arrive, as from a server that is just being started again, it tries anew.

import('./main.js').catch(error => {
  console.warn(error);
  setTimeout(() => location.reload(), 1000);
});
