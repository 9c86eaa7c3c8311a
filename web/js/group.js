// The parts that the tabs of a shared node have in common: the names of their channels and locks,
// and the lock that shows that a tab lives. This module holds no state.

/** Version of the frames: tabs that run another one have a leader of their own. */
const VERSION = 1;

/** Returns the names of a group's channels and locks. */
export function namesOf(group) {
  const base = `opp2p-${VERSION}-${group}`;
  return {
    /** The channel on which a leader speaks to all tabs. */
    all: base,
    /** The channel on which tabs speak to the leader. */
    desk: `${base}-desk`,
    /** The channel on which the leader speaks to one tab. */
    tab: (id) => `${base}-tab-${id}`,
    /** The lock of the leader. */
    leader: `${base}-leader`,
    /** The lock of a tab that takes the leader's lock from a silent one. */
    taking: `${base}-taking`,
  };
}

/** Returns the key of these options: observers with equal keys share a node. */
export const keyOf = ({ node, identity, keep }) => JSON.stringify({ node, identity, keep });

/** Resolves to the name of the group with this key. It does not show what the key contains. */
export async function groupOf(key) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  const bytes = new Uint8Array(digest).subarray(0, 16);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Holds a lock as long as this tab lives, or until `release()`. `null` where there are none. */
export async function held(locks = globalThis.navigator?.locks) {
  if (!locks) return null;
  const name = `opp2p-tab-${crypto.randomUUID()}`;
  let release;
  await new Promise((resolve, reject) => {
    const hold = () => {
      resolve();
      return new Promise((done) => (release = done));
    };
    locks.request(name, hold).catch(reject);
  });
  return { name, release: () => release() };
}
