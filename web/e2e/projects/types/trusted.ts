// What a page may write that declares trusted types.

import { observe } from "opp2p";

declare global {
  interface TrustedScriptURL {
    readonly brand: "TrustedScriptURL";
  }
  var TrustedScriptURL: { readonly prototype: TrustedScriptURL };
}

export async function trusted(script: TrustedScriptURL): Promise<void> {
  await observe({ network: 10, peers: "x", worker: script });
  await observe({ network: 10, peers: "x", worker: new URL("x:y") });
  // @ts-expect-error A number is no place.
  await observe({ network: 10, peers: "x", worker: 5 });
  // @ts-expect-error Neither is any object.
  await observe({ network: 10, peers: "x", worker: { place: "x" } });
}
