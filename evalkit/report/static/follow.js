"use strict";
// A page of a run that is going on: it is loaded again when the records have grown and nobody is using it.
(() => {
  const wait = Number(document.body.dataset.follows);
  if (!wait) return;
  const place = "evalkit-follow:" + location.pathname;
  const last = document.body.dataset.stamp;
  let touched = 0;
  for (const kind of ["keydown", "pointerdown", "wheel", "input"]) addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  const kept = sessionStorage.getItem(place);
  if (kept !== null) {
    sessionStorage.removeItem(place);
    setTimeout(() => scrollTo({ top: Number(kept), behavior: "instant" }), 200);
  }
  const timer = setInterval(async () => {
    let now;
    try {
      now = (await (await fetch("stamp")).text()).trim();
    } catch (error) {
      clearInterval(timer);
      const lines = document.querySelector(".notices ul");
      const line = document.createElement("li");
      line.textContent = "The server does not answer any more: this page stands as it was (" + error.name + ").";
      if (lines) lines.append(line);
      return;
    }
    const busy = document.hidden || Date.now() - touched < 5000 || [...document.querySelectorAll("video")].some((film) => !film.paused);
    if (now !== last && !busy) {
      sessionStorage.setItem(place, String(scrollY));
      location.reload();
    }
  }, 1000 * wait);
})();
