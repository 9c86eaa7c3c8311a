// What a page may write where the browser's types are.

import { observe, type Block } from "opp2p";

export async function page(): Promise<EventTarget> {
  const observer = await observe({
    network: 10,
    peers: "x",
    worker: () => new Worker("x"),
    wasm: fetch("x"),
  });
  observer.addEventListener("block", (event: CustomEvent<Block>) =>
    console.log(event.detail.number),
  );
  observer.addEventListener(
    "x",
    { handleEvent: (event: Event) => console.log(event) },
    { once: true },
  );
  const { signal } = new AbortController();
  await observe({
    network: 10,
    peers: "x",
    worker: new Worker("x"),
    wasm: new WebAssembly.Module(new Uint8Array()),
    signal,
  });
  return observer;
}
