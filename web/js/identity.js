// A peer id that is kept: one record in IndexedDB, for this origin.

const DATABASE = "opp2p";
const STORE = "identity";
const KEY = "node";

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    // Another tab holds an older version open; there is none yet, but waiting for ever would be worse.
    request.onblocked = () => reject(new Error("the database is in use"));
  });
}

async function database() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

/**
 * The identity of this origin, made by `create` the first time. Two tabs that start together end up with the same.
 *
 * It is the private key of a peer id, which stands for nothing but a place in the network: whoever reads this origin's
 * storage can take part under its name.
 */
export async function storedIdentity(create) {
  let opened;
  try {
    if (typeof indexedDB === "undefined") throw new Error("there is no IndexedDB here");
    opened = await database();
    const before = await settled(opened.transaction(STORE).objectStore(STORE).get(KEY));
    if (before instanceof Uint8Array) return before;
    const store = opened.transaction(STORE, "readwrite").objectStore(STORE);
    // Within one transaction nobody comes between.
    const meanwhile = await settled(store.get(KEY));
    if (meanwhile instanceof Uint8Array) return meanwhile;
    const made = create();
    await settled(store.put(made, KEY));
    return made;
  } catch (error) {
    const why = error && error.message ? error.message : String(error);
    const told = new Error(`the identity can't be kept (${why}): use the identity "fresh"`);
    throw Object.assign(told, { code: "storage" });
  } finally {
    opened?.close();
  }
}
