// The page: starts an observer, keeps its reports in a model, and renders the model while the page
// is visible.

import { observe } from "./opp2p/index.js";
import { byId, setText, settle, shortPeer } from "./format.js";
import { FormView } from "./form.js";
import { Model } from "./model.js";
import { begin, warning } from "./signer.js";
import { gateways, isConfiguration, keepTyped, parameters, query } from "./start.js";
import { describe, isRefusal } from "./state.js";
import { nameTheme, turnTheme } from "./themes.js";
import { BlocksView, blocksHint } from "./view/blocks.js";
import { copies } from "./view/copy.js";
import { DetailsView } from "./view/details.js";
import { CountersView, EventsView, GapsView } from "./view/events.js";
import { HeadView } from "./view/head.js";
import { PeersView } from "./view/peers.js";
import { TroublesView } from "./view/troubles.js";

/** Interval in milliseconds between two updates of what changes with time alone. */
const TICK = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 100;

/** For tests and for the console. Times are `performance.now()`, in milliseconds. */
const shared = { observer: null, timings: { script: performance.now(), observing: null, firstBlock: null, firstHead: null } };
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
  troubles: new TroublesView(),
};

let model = new Model();
/** Counts attempts to start, so that a superseded one ends itself. */
let attempt = 0;
/** What is observed, or was asked for last. */
let asked = null;
let starting = true;
let crashed = false;
/** A promise of the compiled module. It is asked for at once: the preloaded file must not wait. */
let module = compile();
/** The address whose signatures are checked, and the party that named it. */
let signer = null;

// --- What is shown, and when ---------------------------------------------------------------------

let due = false;

/** Schedules a rendering for the next frame. Hidden pages have no frames. */
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
  views.troubles.render(observer?.troubles ?? [], Date.now());
  tick();
  if (!observer) return;
  const fresh = model.fresh.length > 0;
  views.blocks.render(model);
  if (fresh) {
    blocksHint(model.blocks.length);
    views.charts?.render(model);
  }
  views.gaps.render(model, observer.counters.fetched);
  views.events.render(model);
  views.peers.render(observer.peers);
  views.counters.render(observer.counters);
}

/** Updates the head and the state. */
function tick() {
  const observer = shared.observer;
  const now = Date.now();
  if (observer) model.look(observer, now);
  const { newest, refusal } = model;
  if (newest) shared.timings.firstHead ??= performance.now();
  const since = newest ? now - newest.since : null;
  const progress = observer ? model.progress(observer.counters.fetched) : null;
  const state = describe({ observer, starting, online: navigator.onLine, crashed, progress, newest, refusal, since });
  views.head.render({ newest, block: model.blocks[0], signer, progress, since, state });
}

/** Loads the charts once the observer runs: the first block does not wait for their library. */
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
  tick();
  // Peers and counters are refreshed once a second.
  if ((ticks * TICK) % 1000 === 0) show();
}, TICK);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) show();
});

// --- The observer --------------------------------------------------------------------------------

/** Starts another observer. The running one is stopped only once the new one runs. */
async function start(wanted) {
  attempt += 1;
  const mine = attempt;
  asked ??= wanted;
  starting = true;
  form.busy(true);
  show();
  let made;
  try {
    module ??= compile();
    made = await begin((options) => observe({ ...options, wasm: module }), wanted);
  } catch (error) {
    if (mine === attempt) {
      starting = false;
      form.busy(false);
      form.open(wanted, words(brief(error)));
      show();
    }
    return false;
  }
  if (mine !== attempt) {
    await made.observer.stop();
    return false;
  }
  starting = false;
  const before = shared.observer;
  take(wanted, made);
  form.busy(false);
  form.close();
  before?.stop().catch(() => {});
  await loadCharts();
  return true;
}

/** Compiles the module, which the document has preloaded. All observers share it. */
function compile() {
  // The package says what is missing.
  if (!globalThis.WebAssembly?.compileStreaming) return undefined;
  const loading = WebAssembly.compileStreaming(fetch(new URL("./opp2p/wasm/opp2p_web_bg.wasm", import.meta.url)));
  // A later start may try again.
  loading.catch(() => (module = null));
  return loading;
}

/** Makes a new observer the one that is shown. */
function take(wanted, { observer, by, ignored }) {
  asked = wanted;
  crashed = false;
  shared.observer = observer;
  shared.timings = { ...shared.timings, observing: performance.now(), firstBlock: null, firstHead: null };
  model = new Model();
  views.blocks.clear();
  views.peers.clear();
  views.charts?.render(model);
  listen(observer);
  sign(observer, by);
  const { name, chainId } = observer.network;
  const known = wanted.name || name;
  const title = known.includes(String(chainId)) ? known : `${known} · chain ${chainId}`;
  const isForeign = wanted.by !== "page" && isConfiguration(wanted.network);
  setText(byId("network"), isForeign ? `${title} · configuration ${wanted.by === "link" ? "of the link" : "typed in here"}` : title);
  const warns = warning({ wanted, signer: observer.network.signer, by, ignored });
  byId("warning").hidden = warns === null;
  byId("warning").dataset.kind = warns?.kind ?? "";
  setText(byId("warning-text"), warns?.text ?? "");
  settle();
  notice("");
  show();
}

function sign(observer, by) {
  signer = { address: observer.network.signer, by, name: observer.network.name };
}

function listen(observer) {
  const on = (type, take) =>
    observer.on(type, (detail) => {
      // A stopped observer may still send reports.
      if (observer !== shared.observer) return;
      take(detail);
      show();
    });
  on("block", (block) => {
    shared.timings.firstBlock ??= performance.now();
    model.block(block, signer);
  });
  on("head", () => {});
  on("gap", (gap) => model.gap(gap, observer.counters.fetched));
  on("reorg", (reorg) => model.reorg(reorg));
  on("equivocation", (equivocation) => model.equivocation(equivocation));
  on("rejected", (rejected) => model.rejected(rejected));
  on("trouble", (trouble) => {
    setText(byId("said"), words(`trouble: ${trouble.text}`));
    model.troubleBegan(trouble);
  });
  on("trouble-ended", (trouble) => model.troubleEnded(trouble));
  on("signer", (found) => {
    model.signer(found);
    sign(observer, "read");
  });
  on("peer", () => {});
  on("error", (error) => {
    if (isRefusal(error.code)) model.refusal = error.code;
    crashed ||= error.code === "crashed";
    // Until it is reached, the list of gateways says so too, and so does the state.
    if (error.code !== "unreachable") notice(words(error));
    model.event("error", "Error", words(error));
  });
}

/** Peer ids of secp256k1 and Ed25519 keys. */
const PEER_ID = /\b(?:16Uiu2|12D3Koo)\w{40,}/g;

/** Returns an error as a sentence, with peers named as in their list. */
function words(error) {
  const text = error instanceof Error ? error.message : String(error);
  const sentence = text.replace(PEER_ID, shortPeer).trim() || "something went wrong that has no name";
  return sentence[0].toUpperCase() + sentence.slice(1) + (/[.!?]$/.test(sentence) ? "" : ".");
}

/**
 * Returns an error's text. The field suggests all networks, so that the text need not list them.
 */
function brief(error) {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/; give its rollup\.json, or one of the built-in: .*/s, ": choose one that the field suggests, or paste its rollup.json");
}

function notice(text) {
  byId("notice").hidden = text === "";
  setText(byId("notice-text"), text);
}

// --- The form and the bar ------------------------------------------------------------------------

const form = new FormView({
  isRunning: () => shared.observer !== null,
  asked: () => asked,
  async join(wanted) {
    if (!(await start(wanted))) return;
    const search = query(wanted, beside);
    if (search !== location.search) history.pushState(null, "", location.pathname + search);
    // The browser may write the query in its own way.
    shownAt = location.search;
    keepTyped(location.search);
  },
  cancel() {
    // A start that is under way ends by itself.
    attempt += 1;
    starting = false;
  },
});

byId("notice-close").addEventListener("click", () => notice(""));
/** Returns a link to what is shown. */
const link = () => (shared.observer ? location.origin + location.pathname + query(asked, beside) : location.href);
copies(byId("share"), link, "a link to this page");
byId("theme").addEventListener("click", () => {
  turnTheme();
  views.charts?.repaint();
});
nameTheme();

// --- Go ------------------------------------------------------------------------------------------

window.addEventListener("pagehide", (event) => {
  // A page in the back/forward cache continues where it was.
  if (!event.persisted) shared.observer?.stop().catch(() => {});
});
for (const type of ["online", "offline"]) window.addEventListener(type, show);

/** Addresses of the gateways that `config.json` names: a link need not repeat them. */
let beside = [];
/** The query of the address whose network is shown. */
let shownAt = null;

/** Observes what the page's address says, or asks for the rest. */
async function go() {
  // A link within the page changes only the fragment.
  if (shownAt === location.search) return;
  shownAt = location.search;
  const wanted = await parameters();
  beside = await gateways();
  if (wanted.network !== "" && wanted.peers.length > 0) {
    await start(wanted);
  } else {
    asked ??= wanted;
    starting = false;
    form.open(wanted, "");
    show();
  }
}

window.addEventListener("popstate", go);
await go();
