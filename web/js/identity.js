// Persistent peer ids: records in IndexedDB, for this origin. Two nodes must not share one, since a
// gateway serves one connection of a peer: each node takes the first that is free, and holds it by
// a Web Lock, which the browser releases when its tab ends.
//
// Bounds: SLOTS identities of one origin.
//
// It imports nothing: the tests in Rust load this file alone.

const DATABASE = "opp2p";
const STORE = "identity";
/** Maximum number of identities. Further nodes get a fresh one. */
const SLOTS = 16;

const keyOf = (slot) => (slot === 0 ? "node" : `node-${slot}`);

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    // Another tab has an older version open. None exists yet, but a request must not wait for ever.
    request.onblocked = () => reject(new Error("the database is in use"));
  });
}

async function database() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

/** Returns the identity of a slot, which `create` makes the first time. */
async function stored(key, create) {
  let opened;
  try {
    if (typeof indexedDB === "undefined") throw new Error("there is no IndexedDB here");
    opened = await database();
    const before = await settled(opened.transaction(STORE).objectStore(STORE).get(key));
    if (before instanceof Uint8Array) return before;
    const store = opened.transaction(STORE, "readwrite").objectStore(STORE);
    const made = create();
    await settled(store.put(made, key));
    return made;
  } catch (error) {
    const told = new Error(
      `the identity can't be kept (${error?.message ?? error}): use the identity "fresh"`,
      { cause: error },
    );
    throw Object.assign(told, { code: "storage" });
  } finally {
    opened?.close();
  }
}

/**
 * Takes a lock if it is free. Resolves to the function that releases it, or to `null`.
 */
function lock(name) {
  return new Promise((resolve, reject) => {
    const hold = (held) => {
      if (!held) return resolve(null);
      return new Promise((release) => resolve(release));
    };
    navigator.locks.request(name, { ifAvailable: true }, hold).catch(reject);
  });
}

/**
 * Resolves to an identity of this origin that no other node uses, which `create` makes the first
 * time, and the function that gives it back. `null` if all are used, or if there are no Web Locks
 * to tell (pages over http that are not on localhost have none).
 *
 * It is the private key of a peer id, which is nothing but a place in the network: a reader of this
 * origin's storage can take part under its name.
 */
export async function storedIdentity(create) {
  const locks = globalThis.navigator?.locks;
  for (let slot = 0; locks && slot < SLOTS; slot++) {
    const release = await lock(`opp2p-identity-${slot}`);
    if (!release) continue;
    try {
      return { identity: await stored(keyOf(slot), create), release };
    } catch (error) {
      release();
      throw error;
    }
  }
  return null;
}
