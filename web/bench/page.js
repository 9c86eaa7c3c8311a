// Runs the measurement in a worker, as the package runs its node.

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
window.result = new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => reject(new Error(event.message));
});
