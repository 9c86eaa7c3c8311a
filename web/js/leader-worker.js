// The node of all tabs of an origin, in a worker of the tab that leads them; see leader.js.
// Messages in: {lead} once, {end}. Message out: {ended}. It speaks to the tabs through channels.
// desk.js and hub.js bound what it holds.

import { Desk } from "./desk.js";
import { load, start } from "./engine.js";

let desk;

globalThis.addEventListener("message", async ({ data }) => {
  if (data.lead) {
    const { options, ...lead } = data.lead;
    // The module loads while tabs join. A failure shows at the start of the node.
    load(options.wasm).catch(() => {});
    desk = new Desk(lead, (resume, tell) => start({ ...options, resume }, tell));
  } else if (data.end) {
    await desk?.end();
    globalThis.postMessage({ ended: true });
  }
});
