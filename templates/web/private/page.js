// Leaving: the page is closed on the server, and its place in the history is taken by an empty one.
(function () {
  "use strict";
  var form = document.querySelector("form.leave");
  if (!form) { return; }
  form.addEventListener("submit", function (event) {
    event.preventDefault();
    document.documentElement.hidden = true;
    var go = function () { window.location.replace("/l/"); };
    fetch(form.action, { method: "POST", body: new URLSearchParams(), credentials: "same-origin", redirect: "manual", keepalive: true }).then(go, go);
  });
  // A page taken from the browser's memory after leaving is asked for again, so it wants the code.
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) { document.documentElement.hidden = true; window.location.reload(); }
  });
})();
