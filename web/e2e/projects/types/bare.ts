// What compiles without any types but those of the language.

import { observe } from "opp2p";

export async function bare(): Promise<number> {
  const observer = await observe({ network: 10, peers: "x" });
  observer.addEventListener("head", (event) => event.detail.number);
  for await (const block of observer.blocks) return block.number;
  return 0;
}
