/** The script of the worker, which the option `worker` takes. It exports nothing. */
export {};
