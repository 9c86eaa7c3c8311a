// Keeps an observer's newest block and its knowledge of gateways in IndexedDB for the next visit.
// The node verifies the block again.
//
// If storage is missing, full or denied, nothing is kept, and nothing fails.
//
// Bounds: MOST records per origin: a block and a list of peers for each network and signer. The
// node bounds the list. Each record is written at most once in PAUSE_MS.

const DATABASE = "opp2p-kept";
const STORE = "kept";
/** Version of the record format. Records of other versions are ignored. */
const VERSION = 1;
const MOST = 32;
const PAUSE_MS = 2000;
/** Maximum age of a record in milliseconds: longer gaps are not filled. */
const LONGEST_MS = 12 * 3_600_000;

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("the database is in use"));
  });

/** Runs `act` on the store. Resolves to its result, or to `null` if storage fails. */
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

/** Returns a block's signed form: version, signature, parent beacon block root, payload. */
export function contents({ version, signature, parentBeaconBlockRoot }, payload) {
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

/** Resolves to a usable record, or to `null`. */
async function read(key) {
  const record = await withStore("readonly", (store) => settled(store.get(key)));
  const isUsable = record?.version === VERSION && Math.abs(Date.now() - record.at) < LONGEST_MS;
  return isUsable ? record : null;
}

/** Writes a record, and first removes the oldest ones beyond the bound. */
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

/** Writes records of one key, with a pause after each. A newer record replaces a waiting one. */
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
    /** Writes the result of `make`, now or after the pause. */
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
 * Opens the records for a node with these options. Resolves to
 *
 * * `head`: the newest block of the last visit in its signed form, or `undefined`;
 * * `headAt`: its time of arrival in milliseconds since 1970, or `null`;
 * * `peers`: pairs of a key and a value, both hexadecimal, which only the node interprets;
 * * `block(report, payload)` and `remember(changes)`, which store the node's reports, and `end()`.
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
      // A block without a signature can't be verified again. The next block comes soon.
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
