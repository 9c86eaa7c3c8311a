/**
 * opp2p on this thread, with static imports only: for service workers. See `opp2p`.
 *
 * @module
 */
export * from "./index.js";
