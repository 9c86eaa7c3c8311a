// Shows the verified head of a chain. Start it with a gateway:
// `?peers=/dns4/…/tcp/443/wss/p2p/16Uiu2…&network=op-mainnet`.

import { observe, ObserverError } from "opp2p";

const show = (id: string, text: string) => (document.getElementById(id)!.textContent = text);
const query = new URLSearchParams(location.search);

try {
  const observer = await observe({ network: query.get("network") ?? "op-mainnet", peers: query.getAll("peers") });
  show("head", `${observer.network.name}: waiting for a block`);
  observer.on("peer", () => show("peers", observer.peers.map((peer) => `${peer.id} ${peer.state}`).join("\n")));
  for await (const block of observer.blocks) {
    show("head", `${block.number} ${block.hash}, ${block.transactionCount} transactions`);
  }
} catch (error) {
  if (!(error instanceof ObserverError)) throw error;
  show("head", error.message);
}
