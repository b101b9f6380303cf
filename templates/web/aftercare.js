// What pages do by themselves: renew the pulse, turn red when the service cannot be reached, lock after a pause without
// losing what was typed, a few keys. Everything works without it. Nothing is kept in the browser.
"use strict";

(() => {
  const OFFLINE_AFTER = 120_000; // milliseconds without an answer
  const PULSE_EVERY = 30_000;
  const token = document.querySelector('meta[name="form-token"]')?.content;
  const now = () => performance.now();
  const clock = () => new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

  const ask = (path, form) =>
    fetch(path, {
      method: form ? "POST" : "GET",
      body: form,
      headers: { "X-Asked-By": "script", ...(form ? { "X-Form-Token": token } : {}) },
      credentials: "same-origin",
      redirect: "manual",
      signal: AbortSignal.timeout(15_000),
    });

  // The pulse

  const pulse = document.getElementById("pulse");
  let answeredAt = now();
  let answeredClock = clock();
  let lastPulse = pulse?.innerHTML;

  const showOffline = () => {
    if (pulse.dataset.offline) return;
    pulse.dataset.offline = "yes";
    document.body.classList.add("offline");
    const line = document.createElement("p");
    line.className = "pulse red";
    line.setAttribute("role", "alert");
    line.textContent = `▲ Aftercare cannot be reached since ${answeredClock}. What you see may be old; nothing you send now is saved.`;
    pulse.replaceChildren(line);
  };

  const showAnswer = (html) => {
    answeredAt = now();
    answeredClock = clock();
    if (html !== undefined && (html !== lastPulse || pulse.dataset.offline)) {
      pulse.innerHTML = html;
      lastPulse = html;
    }
    delete pulse.dataset.offline;
    document.body.classList.remove("offline");
  };

  const renew = async () => {
    try {
      const answer = await ask("/pulse");
      if (answer.ok) showAnswer(await answer.text());
      else if (answer.type === "opaqueredirect") location.assign("/sign-in"); // the session is over
    } catch {
      // The next look tells; two minutes of silence are an alarm.
    }
    if (now() - answeredAt > OFFLINE_AFTER) showOffline();
  };

  if (pulse) {
    setInterval(renew, PULSE_EVERY);
    setInterval(() => now() - answeredAt > OFFLINE_AFTER && showOffline(), 5_000);
    addEventListener("online", renew);
    document.addEventListener("visibilitychange", () => document.hidden || renew());
  }

  // The lock

  const lock = document.getElementById("lock");
  const idleSeconds = Number(document.body.dataset.idle || 0);
  const tabs = "BroadcastChannel" in window ? new BroadcastChannel("aftercare") : null;
  let activeAt = Date.now(); // a sleeping machine counts: performance.now() would stand still

  const isLocked = () => lock?.open;
  const beActive = () => {
    if (isLocked()) return;
    const quiet = Date.now() - activeAt;
    activeAt = Date.now();
    if (quiet > 5_000) tabs?.postMessage("active");
  };
  const showLock = () => {
    if (!lock || isLocked()) return;
    document.body.classList.add("veiled");
    lock.showModal();
    document.getElementById("lock-pin").focus();
  };
  const hideLock = () => {
    document.body.classList.remove("veiled");
    activeAt = Date.now();
    if (isLocked()) lock.close();
  };
  const lockNow = () => {
    showLock();
    ask("/lock", new URLSearchParams()).catch(() => {});
  };

  if (lock && idleSeconds) {
    for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
      addEventListener(kind, beActive, { passive: true });
    }
    setInterval(() => isLocked() || (Date.now() - activeAt > idleSeconds * 1_000 && lockNow()), 1_000);
    tabs?.addEventListener("message", (message) => {
      if (message.data === "active") activeAt = Date.now();
      if (message.data === "locked") showLock();
      if (message.data === "opened") hideLock();
    });
    lock.addEventListener("cancel", (event) => event.preventDefault()); // Escape does not open it
    lock.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const pin = document.getElementById("lock-pin");
      const wrong = document.getElementById("lock-wrong");
      const tell = (sentence) => {
        wrong.textContent = sentence;
        wrong.hidden = !sentence;
      };
      try {
        const answer = await ask("/unlock", new URLSearchParams({ unlock_pin: pin.value }));
        pin.value = "";
        if (answer.status === 204) {
          tell("");
          hideLock();
          tabs?.postMessage("opened");
        } else if (answer.status === 403) {
          tell(await answer.text());
        } else {
          location.assign("/sign-in");
        }
      } catch {
        tell("Aftercare cannot be reached. Try again in a moment.");
      }
    });
    document.querySelector('form[action="/lock"]')?.addEventListener("submit", (event) => {
      event.preventDefault();
      lockNow();
      tabs?.postMessage("locked");
    });
    document.addEventListener("htmx:responseError", (event) => {
      if (event.detail.xhr.status === 423) showLock();
    });
  }

  // Entering a treatment by keyboard: Enter takes the first hit, the arrows go through them, then on to the treatment

  document.documentElement.classList.add("js");
  document.addEventListener("keydown", (event) => {
    const hits = [...document.querySelectorAll("#people .hit")];
    if (event.target.id === "find-patient" && event.key === "Enter") {
      event.preventDefault();
      (hits[0] || document.getElementById("new-patient")).click();
    }
    const place = event.target.id === "find-patient" ? -1 : hits.indexOf(event.target);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && hits.length && (place >= 0 || event.target.id === "find-patient")) {
      event.preventDefault();
      (hits[place + step] || document.getElementById("find-patient")).focus();
    }
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "who") return;
    const who = document.getElementById("who");
    const open = ["given_name", "family_name", "birth_date"].map((id) => document.getElementById(id));
    const next = open.find((field) => field && !field.value) || who.querySelector('[autofocus], input[type="radio"]');
    (next || document.getElementById("protocol")).focus();
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const lists = event.target;
    if (lists.id === "lists" && (lists.querySelector(".menu[open]") || lists.contains(document.activeElement))) {
      event.preventDefault(); // somebody is in the middle of a line
    }
  });

  // Sending a form once, and saying that it takes a while

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method === "dialog" || event.submitter?.formTarget) return; // a frame beside it
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = event.submitter;
    setTimeout(() => button?.classList.add("working"), 400);
    setTimeout(() => delete form.dataset.sent, 15_000);
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.forms) delete form.dataset.sent;
    for (const button of document.querySelectorAll(".working")) button.classList.remove("working");
  });

  // Typed and not saved

  let typed = false;
  document.addEventListener("input", (event) => {
    if (event.target.closest("form[data-keep]")) typed = true;
  });
  document.addEventListener("submit", (event) => (typed &&= Boolean(event.submitter?.formTarget)));
  addEventListener("beforeunload", (event) => typed && event.preventDefault());

  // Keys: n enters a treatment, t goes to Today, / finds a patient

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isLocked()) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const go = { n: "/treatments/new", t: "/today", r: "/reminders", "?": "/help" }[event.key];
    if (go && document.querySelector(`a[href="${go}"]`)) {
      event.preventDefault();
      location.assign(go);
    } else if (event.key === "/") {
      event.preventDefault();
      document.getElementById("find")?.focus();
    }
  });

  // A closed menu is closed again when something else is used

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.me[open], details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.me[open], details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // What is wrong with a form is read first

  document.getElementById("problems")?.focus();
})();
