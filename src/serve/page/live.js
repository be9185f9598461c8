// Shows what changed without a reload: reads the page again and puts its live part in place of the
// old one. Focus and scrolling stay where they are.
"use strict";

const events = document.currentScript.dataset.events;
const liveness = document.getElementById("liveness");
const news = document.getElementById("news");
const shortestPause = 700;

let isReading = false;
let isStale = false;
let changed = new Map();

function show(text, isLive) {
  liveness.hidden = false;
  liveness.classList.toggle("off", !isLive);
  document.getElementById("liveness-text").textContent = text;
}

async function refresh() {
  isStale = true;
  if (isReading) return;
  isReading = true;
  while (isStale) {
    isStale = false;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
      if (answer.ok) replace(await answer.text());
    } catch {
      // The connection is gone; coming back, it reads again.
    }
    await new Promise((resolve) => setTimeout(resolve, shortestPause));
  }
  isReading = false;
}

function replace(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("live");
  const old = document.getElementById("live");
  if (!fresh) return;
  if (fresh.innerHTML !== old.innerHTML) {
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const scrolled = new Map([...old.querySelectorAll(".scroll[id]")].map((box) => [box.id, box.scrollLeft]));
    old.replaceWith(document.adoptNode(fresh));
    for (const [id, left] of scrolled) document.getElementById(id)?.scrollTo({ left });
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
  // The page may have had a change before it was told of.
  if (changed.size > 0) {
    for (const [tag] of changed) document.getElementById("v-" + tag)?.closest("th").classList.add("fresh");
    news.textContent = [...changed].slice(0, 3).map(([tag, state]) => `${tag}: ${state ?? "gone"}`).join(", ");
    changed = new Map();
  }
}

function listen() {
  const source = new EventSource(events);
  source.addEventListener("open", () => {
    show("Live", true);
    // Something may have changed while nobody listened, be it since the page was sent.
    refresh();
  });
  source.addEventListener("change", (event) => {
    const { tag, state } = JSON.parse(event.data);
    changed.set(tag, state);
    refresh();
  });
  source.addEventListener("reload", refresh);
  source.addEventListener("error", () => {
    show("Not connected", false);
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 15000);
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}

// Back in history brings the page as it was left, without its listener.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
listen();
