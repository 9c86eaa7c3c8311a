// The page: starts an observer, keeps what it tells in a model, and shows the model when there is somebody to see it.

import { observe } from "./opp2p/index.js";
import { byId, setText } from "./format.js";
import { Model } from "./model.js";
import { addresses, network, parameters } from "./start.js";
import { BlocksView, blocksHint } from "./view/blocks.js";
import { DetailsView } from "./view/details.js";
import { CountersView, EventsView, GapsView } from "./view/events.js";
import { HeadView } from "./view/head.js";
import { PeersView } from "./view/peers.js";

/** Milliseconds between two looks at what changes with the time alone. */
const TICK = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 100;

/** For tests and for the curious, in the console. Times are `performance.now()`, in milliseconds. */
const shared = { observer: null, timings: { script: performance.now(), observing: null, firstBlock: null } };
window.opp2p = shared;

const details = new DetailsView();
const views = {
  head: new HeadView(),
  blocks: new BlocksView((block, back) => details.open(block, back)),
  charts: null,
  peers: new PeersView(),
  gaps: new GapsView(),
  events: new EventsView(),
  counters: new CountersView(),
};

let model = new Model();
/** Counts attempts to start, so that one that was overtaken ends itself. */
let attempt = 0;
let asked = null;
let starting = false;

// --- What is shown, and when ---------------------------------------------------------------------------------------

let due = false;

/** Has the next frame show what there is. Hidden pages have no frames. */
function show() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    render();
  });
}

function render() {
  const observer = shared.observer;
  views.head.head(model.head, model.blocks[0]);
  views.head.tick(observer, model.gaps, starting);
  if (!observer) return;
  const fresh = model.fresh.length > 0;
  views.blocks.render(model);
  if (fresh) {
    blocksHint(model.blocks.length);
    views.charts?.render(model);
  }
  views.gaps.render(model.gaps);
  views.events.render(model);
  views.peers.render(observer.peers);
  views.counters.render(observer.counters);
}

/** Loads the charts, once the observer runs: the first block does not wait for their library. */
async function loadCharts() {
  if (views.charts) return;
  try {
    const { ChartsView } = await import("./view/charts.js");
    views.charts ??= new ChartsView();
    if (model.blocks.length > 0) views.charts.render(model);
  } catch {
    for (const name of ["latency", "size"]) setText(byId(`${name}-text`), "The chart could not be loaded.");
  }
}

let ticks = 0;
setInterval(() => {
  if (document.hidden || !shared.observer) return;
  ticks += 1;
  views.head.tick(shared.observer, model.gaps);
  // Peers and counters are refreshed once a second.
  if ((ticks * TICK) % 1000 === 0) show();
}, TICK);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) show();
});

// --- The observer --------------------------------------------------------------------------------------------------

async function start(wanted) {
  attempt += 1;
  const mine = attempt;
  asked = wanted;
  starting = true;
  show();
  await stop();
  notice("");
  showForm(false);
  setText(byId("network"), wanted.name || (typeof wanted.network === "object" ? "rollup.json" : String(wanted.network)));
  let observer;
  try {
    observer = await observe({
      network: wanted.network,
      peers: wanted.peers,
      signer: wanted.signer,
      fromGenesis: wanted.fromGenesis,
    });
  } catch (error) {
    if (mine === attempt) {
      starting = false;
      showForm(true, words(error));
    }
    return;
  }
  if (mine !== attempt) {
    await observer.stop();
    return;
  }
  starting = false;
  shared.observer = observer;
  listen(observer);
  shared.timings.observing = performance.now();
  const { name, chainId } = observer.network;
  const known = wanted.name || name;
  setText(byId("network"), known.includes(String(chainId)) ? known : `${known} · chain ${chainId}`);
  show();
  await loadCharts();
}

function listen(observer) {
  const on = (type, take) =>
    observer.on(type, (detail) => {
      // One that was told to stop may have something left to say.
      if (observer !== shared.observer) return;
      take(detail);
      show();
    });
  on("block", (block) => {
    shared.timings.firstBlock ??= performance.now();
    model.block(block);
  });
  on("head", (head) => {
    model.head = head;
  });
  on("gap", (gap) => model.gap(gap));
  on("reorg", (reorg) => model.reorg(reorg));
  on("equivocation", (equivocation) => model.equivocation(equivocation));
  on("rejected", (rejected) => model.rejected(rejected));
  on("peer", () => {});
  on("error", (error) => {
    notice(words(error));
    model.event("error", "Error", words(error));
  });
}

async function stop() {
  const observer = shared.observer;
  shared.observer = null;
  shared.timings.observing = null;
  shared.timings.firstBlock = null;
  model = new Model();
  views.blocks.clear();
  views.peers.clear();
  views.charts?.render(model);
  try {
    await observer?.stop();
  } catch {
    // It has ended either way.
  }
}

/** An error as a sentence. */
function words(error) {
  const text = error instanceof Error ? error.message : String(error);
  const sentence = text.trim() || "something went wrong that has no name";
  return sentence[0].toUpperCase() + sentence.slice(1) + (/[.!?]$/.test(sentence) ? "" : ".");
}

// --- The form and the bar ------------------------------------------------------------------------------------------

function showForm(visible, error = "") {
  byId("start").hidden = !visible;
  byId("live").hidden = visible && shared.observer === null;
  byId("start-cancel").hidden = shared.observer === null;
  setText(byId("start-error"), error);
  byId("start-network").removeAttribute("aria-invalid");
  byId("start-peers").removeAttribute("aria-invalid");
  if (!visible) return;
  if (asked) {
    byId("start-network").value = typeof asked.network === "object" ? JSON.stringify(asked.network) : String(asked.network);
    byId("start-peers").value = asked.peers.join("\n");
  }
  show();
}

function notice(text) {
  byId("notice").hidden = text === "";
  setText(byId("notice-text"), text);
}

byId("start-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [chain, peers] = [byId("start-network"), byId("start-peers")];
  const wanted = { network: network(chain.value), peers: addresses(peers.value), name: "" };
  const missing = wanted.network === "" ? chain : wanted.peers.length === 0 ? peers : null;
  for (const field of [chain, peers]) field.setAttribute("aria-invalid", String(field === missing));
  if (missing) {
    setText(byId("start-error"), missing === chain ? "Say which network." : "Give the address of at least one gateway.");
    missing.focus();
    return;
  }
  // The same network as before keeps what only its configuration knew.
  const same = asked && JSON.stringify(asked.network) === JSON.stringify(chainOf(wanted.network));
  if (same) Object.assign(wanted, { network: asked.network, signer: asked.signer, fromGenesis: asked.fromGenesis, name: asked.name });
  start(wanted);
});

/** A pasted rollup.json as an object, so that it can be compared with the one that was given. */
function chainOf(text) {
  if (typeof text !== "string" || !text.startsWith("{")) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

byId("start-cancel").addEventListener("click", () => showForm(false));
byId("notice-close").addEventListener("click", () => notice(""));
byId("change").addEventListener("click", () => {
  showForm(true);
  byId("start-network").focus();
});

const THEMES = ["system", "light", "dark"];
function nameTheme() {
  const theme = document.documentElement.dataset.theme ?? "system";
  const name = theme === "system" ? "as the system" : theme;
  byId("theme").setAttribute("aria-label", `Colours: ${name}`);
  byId("theme").title = `Colours: ${name}`;
}
byId("theme").addEventListener("click", () => {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % THEMES.length];
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("opp2p-theme");
    else localStorage.setItem("opp2p-theme", theme);
  } catch {
    // Storage is forbidden here: the choice holds as long as the page.
  }
  nameTheme();
  views.charts?.repaint();
});
nameTheme();

// --- Go ------------------------------------------------------------------------------------------------------------

window.addEventListener("pagehide", (event) => {
  // One that may come back goes on where it was.
  if (!event.persisted) shared.observer?.stop().catch(() => {});
});

const wanted = await parameters();
if (wanted.network !== "" && wanted.peers.length > 0) {
  await start(wanted);
} else {
  asked = wanted;
  showForm(true);
}
