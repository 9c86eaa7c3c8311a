/**
 * opp2p on this thread, with the WebAssembly module in a script: for bundlers that copy no files.
 * See `opp2p`.
 *
 * @module
 */
export * from "./index.js";
