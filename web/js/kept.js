// What an observer keeps in IndexedDB for the next visit: its newest block, and what it learned of
// its gateways. The node checks the block again.
//
// Where there is no storage, or it is full or denied, nothing is kept, and nothing fails.
//
// Bounds: MOST records of one origin: a block and a list of peers for each network and signer. The
// node bounds the list. A record is written every PAUSE_MS at most.

const DATABASE = "opp2p-kept";
const STORE = "kept";
/** Version of the records. Those of other versions are left out. */
const VERSION = 1;
const MOST = 32;
const PAUSE_MS = 2000;
/** Milliseconds after which a record is left out: a gap of that length is not filled. */
const LONGEST_MS = 12 * 3_600_000;

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("the database is in use"));
  });

/** Lets `act` use the store. Resolves to its result, or to `null` if there is no storage. */
async function withStore(mode, act) {
  let database;
  try {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    database = await settled(request);
    return await act(database.transaction(STORE, mode).objectStore(STORE));
  } catch {
    return null;
  } finally {
    database?.close();
  }
}

function bytesOf(hex) {
  const bytes = new Uint8Array((hex.length - 2) / 2);
  for (let at = 0; at < bytes.length; at++)
    bytes[at] = parseInt(hex.slice(2 + 2 * at, 4 + 2 * at), 16);
  return bytes;
}

/** Returns a block as it was signed: version, signature, parent beacon block root, payload. */
function contents({ version, signature, parentBeaconBlockRoot }, payload) {
  const parts = [
    Uint8Array.of(version),
    bytesOf(signature),
    bytesOf(parentBeaconBlockRoot ?? "0x"),
    payload,
  ];
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const keysOf = ({ network, signer }) => {
  const key = JSON.stringify([network, signer]);
  return { head: `head ${key}`, peers: `peers ${key}` };
};

/** Resolves to what a record holds, or to `null`. */
async function read(key) {
  const record = await withStore("readonly", (store) => settled(store.get(key)));
  const isUsable = record?.version === VERSION && Math.abs(Date.now() - record.at) < LONGEST_MS;
  return isUsable ? record : null;
}

/** Writes a record, and removes the oldest ones beyond the bound. */
function write(key, record) {
  return withStore("readwrite", async (store) => {
    const keys = await settled(store.getAllKeys());
    if (keys.length >= MOST && !keys.includes(key)) {
      const times = await Promise.all(
        keys.map(async (key) => [(await settled(store.get(key)))?.at ?? 0, key]),
      );
      times.sort(([one], [other]) => one - other);
      for (const [, oldest] of times.slice(0, keys.length - MOST + 1)) store.delete(oldest);
    }
    await settled(store.put({ ...record, version: VERSION }, key));
  });
}

/** Writes records of one key, the newest at last, with pauses between them. */
function writer(key) {
  let waiting;
  let isBusy = false;
  const next = async () => {
    if (isBusy || !waiting) return;
    isBusy = true;
    const make = waiting;
    waiting = undefined;
    await write(key, make());
    setTimeout(() => {
      isBusy = false;
      void next();
    }, PAUSE_MS);
  };
  return {
    /** Has what `make` returns written, now or after the pause. */
    put(make) {
      waiting = make;
      void next();
    },
    get isBusy() {
      return isBusy;
    },
    end: () => (waiting = undefined),
  };
}

/**
 * Opens what is kept for a node with these options. Resolves to
 *
 * * `head`: the newest block of the last visit as it was signed, or `undefined`; `headAt`: its time of
 *   arrival;
 * * `peers`: pairs of hexadecimal digits, which the node understands;
 * * `block(report, payload)` and `remember(changes)`, which take the node's reports; `end()`.
 */
export async function open(options) {
  const keys = keysOf(options);
  const [head, peers] = await Promise.all([read(keys.head), read(keys.peers)]);
  const [heads, lists] = [writer(keys.head), writer(keys.peers)];
  const known = new Map(Array.isArray(peers?.entries) ? peers.entries : []);
  return {
    head: head?.bytes instanceof Uint8Array ? head.bytes : undefined,
    headAt: head?.at ?? null,
    peers: [...known],
    block(report, payload) {
      // A block without a signature could not be checked again. The next one comes soon.
      if (report.signature === null || heads.isBusy) return;
      const record = { at: report.receivedAt, bytes: contents(report, payload) };
      heads.put(() => record);
    },
    remember(changes) {
      for (const [key, value] of changes) {
        if (value === null) known.delete(key);
        else known.set(key, value);
      }
      lists.put(() => ({ at: Date.now(), entries: [...known] }));
    },
    end() {
      heads.end();
      lists.end();
    },
  };
}
