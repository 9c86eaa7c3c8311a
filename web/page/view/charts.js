// Arrival latency and size of the newest blocks, drawn by uPlot, each also as text.

import "./language.js";
import uPlot from "../vendor/uPlot.esm.js";
import { bytes, byId, count, counted, duration, setText } from "../format.js";
import { percentile } from "../model.js";

/** In pixels; the style sheet has the same value. */
const HEIGHT = 136;

export class ChartsView {
  constructor() {
    this.samples = null;
    this.latency = this.chart("latency", {
      scale: { range: (_, low, high) => range(Math.min(low ?? 0, 0), high ?? 1000) },
      series: {
        stroke: () => colour("--line"),
        width: 2,
        fill: () => colour("--line-fill"),
        // Fetched blocks have no latency; the line continues over them.
        spanGaps: true,
        points: { show: false },
      },
      values: (_, splits) => splits.map((value) => tick(value, duration)),
      say: (value) => duration(value),
    });
    this.size = this.chart("size", {
      scale: { range: (_, __, high) => range(0, high ?? 1000) },
      series: {
        stroke: () => colour("--bar"),
        width: 0,
        fill: () => colour("--bar"),
        paths: uPlot.paths.bars({ size: [0.7, 14], radius: 0.2 }),
        points: { show: false },
      },
      values: (_, splits) => splits.map((value) => tick(value, bytes)),
      say: (value) => bytes(value),
    });
    // Colours are read again at each drawing.
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
  }

  chart(name, { scale, series, values, say }) {
    const box = byId(`${name}-chart`);
    const readout = byId(`${name}-value`);
    const axis = { stroke: () => colour("--muted"), font: "11px ui-sans-serif, system-ui, sans-serif" };
    const grid = { stroke: () => colour("--grid"), width: 1 };
    const plot = new uPlot(
      {
        width: Math.max(box.clientWidth, 200),
        height: HEIGHT,
        padding: [10, 4, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7, fill: () => colour("--line") } },
        scales: { x: { time: false, range: (_, low, high) => [low - 0.6, Math.max(high, low + 10) + 0.6] }, y: scale },
        axes: [
          {
            ...axis,
            grid: { show: false },
            ticks: { show: false },
            size: 24,
            splits: (plot, _, low, high) => positions(plot.bbox.width / devicePixelRatio, low, high),
            values: (_, splits) => splits.map((at) => this.numberAt(at)),
          },
          { ...axis, grid, ticks: { show: false }, size: 58, space: 34, values },
        ],
        series: [{}, series],
        hooks: {
          setCursor: [
            (plot) => {
              const at = plot.cursor.idx;
              const value = at === null || at === undefined ? null : plot.data[1][at];
              const number = at === null || at === undefined ? null : this.samples?.number[at];
              const known = value !== null && value !== undefined && number !== undefined;
              setText(readout, known ? `block ${count(number)}: ${say(value)}` : readout.dataset.text ?? "");
            },
          ],
        },
      },
      [[], []],
      box,
    );
    new ResizeObserver(() => {
      const width = box.clientWidth;
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }).observe(box);
    return plot;
  }

  /** Returns the number of the block at a position of the x axis. */
  numberAt(at) {
    const first = this.samples?.x[0];
    const number = first === undefined ? undefined : this.samples.number[at - first];
    return number === undefined ? "" : count(number);
  }

  render({ samples }) {
    this.samples = samples;
    const { x, latency, size } = samples;
    this.latency.setData([x, latency]);
    this.size.setData([x, size]);
    const [p50, p99] = [percentile(latency, 0.5), percentile(latency, 0.99)];
    const gossiped = latency.filter((value) => value !== null).length;
    this.say("latency", p50 === null ? "" : `median ${duration(p50)}`);
    let latencies = `After the time in the block. 99 % of the last ${counted(gossiped, "block")}: within ${duration(p99)}.`;
    if (p50 === null) latencies = "Only fetched blocks so far; their times say nothing.";
    if (x.length === 0) latencies = "No block yet.";
    setText(byId("latency-text"), latencies);
    const [middle, most] = [percentile(size, 0.5), percentile(size, 1)];
    this.say("size", middle === null ? "" : `median ${bytes(middle)}`);
    setText(byId("size-text"), most === null ? "No block yet." : `The payload. Largest of the last ${counted(x.length, "block")}: ${bytes(most)}.`);
  }

  /** Sets the text of a readout while the pointer is on no block. */
  say(name, text) {
    const readout = byId(`${name}-value`);
    readout.dataset.text = text;
    if (this[name].cursor.idx === null || this[name].cursor.idx === undefined) setText(readout, text);
  }

  repaint() {
    this.latency.redraw(false);
    this.size.redraw(false);
  }
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Width of a block number at an axis with the space around it, in pixels. */
const NUMBER_WIDTH = 92;

/** Returns up to three positions of an axis, each in the middle of an equal part of it. */
function positions(width, low, high) {
  const parts = Math.min(3, Math.max(1, Math.floor(width / NUMBER_WIDTH)));
  return Array.from({ length: parts }, (_, part) => Math.round(low + ((part + 0.5) / parts) * (high - low)));
}

/** Returns a range slightly larger than the values need. */
function range(low, high) {
  return [low, low + Math.max(high - low, 1) * 1.1];
}

/** Formats a value at an axis: round, so without trailing zeros. */
function tick(value, format) {
  return value === 0 ? "0" : format(value).replace(/\.0+(?=\s)/, "").replace(/(\.\d*?)0+(?=\s)/, "$1");
}
