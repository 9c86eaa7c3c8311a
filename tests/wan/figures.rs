//! The results: a table, a file of JSON, and plots.

use crate::gossip::{Run, Scenario};
use crate::nodes::Kind;
use crate::range::Range;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All runs of one kind in one scenario.
#[derive(Debug)]
pub(crate) struct Figures {
    /// The scenario.
    pub(crate) scenario: Scenario,
    /// The kind of all nodes.
    pub(crate) kind: Kind,
    /// The runs.
    pub(crate) runs: Vec<Run>,
}

/// Milliseconds for the blocks of one size, sorted.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// To each node.
    pub(crate) each: Vec<f64>,
    /// To the first node.
    pub(crate) first: Vec<f64>,
    /// To the last node, of the blocks that all nodes got.
    pub(crate) last: Vec<f64>,
}

/// Returns the value at the share `part` (0 to 1) of the sorted values. Without values, it is 0.
pub(crate) fn at(values: &[f64], part: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}

impl Figures {
    /// Returns the times by the size of the block.
    pub(crate) fn times(&self) -> BTreeMap<usize, Times> {
        let most = self.blocks().map(|(_, took)| took.len()).max().unwrap_or_default();
        let mut by_size = BTreeMap::<usize, Times>::new();
        for (size, took) in self.blocks() {
            let times = by_size.entry(*size).or_default();
            times.each.extend(took);
            times.first.extend(took.iter().copied().min_by(f64::total_cmp));
            if took.len() == most {
                times.last.extend(took.iter().copied().max_by(f64::total_cmp));
            }
        }
        for times in by_size.values_mut() {
            for values in [&mut times.each, &mut times.first, &mut times.last] {
                values.sort_by(f64::total_cmp);
            }
        }
        by_size
    }

    /// Returns the times of the first blocks of a size to all nodes, sorted.
    fn cold(&self, size: usize) -> Vec<f64> {
        let cold = self.runs.iter().flat_map(|run| &run.cold).filter(|(of, _)| *of == size);
        let mut times: Vec<f64> = cold.flat_map(|(_, took)| took).copied().collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Returns the bytes that the nodes sent for each byte of a message that a node needed.
    pub(crate) fn per_useful(&self) -> f64 {
        self.sum(|run| run.sent) / self.sum(|run| run.useful)
    }

    /// Returns the same for each byte of a block before compression.
    pub(crate) fn per_uncompressed(&self) -> f64 {
        self.sum(|run| run.sent) / self.sum(|run| run.uncompressed)
    }

    fn blocks(&self) -> impl Iterator<Item = &(usize, Vec<f64>)> {
        self.runs.iter().flat_map(|run| &run.blocks)
    }

    fn sum(&self, part: impl Fn(&Run) -> u64) -> f64 {
        self.runs.iter().map(part).sum::<u64>() as f64
    }

    fn missing(&self) -> usize {
        self.runs.iter().map(|run| run.missing).sum()
    }

    fn processor(&self) -> f64 {
        let sum: f64 = self.runs.iter().map(|run| run.seconds_per_block).sum();
        sum / self.runs.len() as f64 * 1e3
    }

    fn to_json(&self) -> Value {
        let of = |values: &[f64]| {
            let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| at(values, part));
            json!({ "p50": p50, "p99": p99, "most": most })
        };
        let sizes: serde_json::Map<String, Value> = self
            .times()
            .into_iter()
            .map(|(size, times)| {
                let told = json!({
                    "count": times.each.len(), "each": of(&times.each),
                    "first": of(&times.first), "last": of(&times.last),
                    "cold": of(&self.cold(size)),
                });
                (size.to_string(), told)
            })
            .collect();
        let packets: Vec<f64> = (0..4).map(|at| self.sum(|run| run.packets[at])).collect();
        json!({
            "scenario": self.scenario.name, "loss": self.scenario.loss, "kind": self.kind.name(),
            "runs": self.runs.len(), "milliseconds": sizes, "missing": self.missing(),
            "bytes_per_useful_byte": self.per_useful(),
            "bytes_per_uncompressed_byte": self.per_uncompressed(),
            "processor_ms_per_block": self.processor(),
            "packets": packets[0], "lost": packets[1], "overflowed": packets[2],
            "late": packets[3],
        })
    }
}

/// Returns everything as JSON.
pub(crate) fn to_json(settings: &Value, all: &[Figures], ranges: &[Range]) -> Value {
    let ranges: Vec<Value> = ranges
        .iter()
        .map(|range| {
            json!({
                "servers": range.servers, "loss": range.loss, "blocks": range.blocks.0,
                "bytes": range.blocks.1, "seconds": range.seconds, "received": range.received,
                "share_of_line": range.share(), "goodput": range.goodput(),
                "processor_s": range.processor,
            })
        })
        .collect();
    let gossip: Vec<Value> = all.iter().map(Figures::to_json).collect();
    json!({ "settings": settings, "gossip": gossip, "range": ranges })
}

/// Returns a size as `2.6 kB`.
fn shown(bytes: usize) -> String {
    match bytes {
        1_000_000.. => format!("{} MB", bytes as f64 / 1e6),
        _ => format!("{} kB", bytes as f64 / 1e3),
    }
}

/// Returns the tables of all scenarios.
pub(crate) fn tables(all: &[Figures]) -> String {
    let mut text = String::new();
    let mut scenarios: Vec<&str> = Vec::new();
    for figures in all {
        if scenarios.contains(&figures.scenario.name) {
            continue;
        }
        scenarios.push(figures.scenario.name);
        let same: Vec<&Figures> =
            all.iter().filter(|other| other.scenario.name == figures.scenario.name).collect();
        let _ = write!(text, "\n{}\n\n{}", figures.scenario.about, table(&same));
    }
    text
}

/// Returns the table of one scenario. Times are in ms, `×` is the ratio to the first kind.
fn table(all: &[&Figures]) -> String {
    let mut text = String::from(
        "| block | nodes | each: p50 | p99 | × p50 | × p99 | first: p50 | last: p50 | p99 \
         | cold: p50 | most |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let times: Vec<_> = all.iter().map(|figures| figures.times()).collect();
    let sizes: Vec<usize> =
        times.first().map(|of| of.keys().copied().collect()).unwrap_or_default();
    for size in sizes {
        let base = &times[0][&size].each;
        for (figures, times) in all.iter().zip(&times) {
            let Some(times) = times.get(&size) else { continue };
            let [p50, p99] = [0.5, 0.99].map(|part| at(&times.each, part));
            let ratio = [p50 / at(base, 0.5), p99 / at(base, 0.99)];
            let last = [0.5, 0.99].map(|part| at(&times.last, part));
            let cold = figures.cold(size);
            let _ = writeln!(
                text,
                "| {} | {} | {p50:.1} | {p99:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.0} | {:.0} \
                 | {:.0} |",
                shown(size),
                figures.kind.name(),
                ratio[0],
                ratio[1],
                at(&times.first, 0.5),
                last[0],
                last[1],
                at(&cold, 0.5),
                at(&cold, 1.0),
            );
        }
    }
    text.push_str(
        "\n| nodes | bytes a useful byte | of a byte before compression | missing | packets | lost \
         | queue full | late | processor, ms a block |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for figures in all {
        let [packets, lost, overflowed, late] =
            [0, 1, 2, 3].map(|at| figures.sum(|run| run.packets[at]));
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {} | {packets} | {lost} | {overflowed} | {late} | {:.1} |",
            figures.kind.name(),
            figures.per_useful(),
            figures.per_uncompressed(),
            figures.missing(),
            figures.processor(),
        );
    }
    text
}

/// Returns the table of the followers that fetch.
pub(crate) fn range_table(ranges: &[Range]) -> String {
    let mut text = String::from(
        "\nA follower behind 100 Mbit/s and a round trip of 100 ms.\n\n\
         | blocks | servers | loss | seconds | blocks/s | share of the line | of it before \
         compression | processor, s |\n|---|---|---|---|---|---|---|---|\n",
    );
    for range in ranges {
        let (count, size) = range.blocks;
        let _ = writeln!(
            text,
            "| {count} of {} | {} | {} % | {:.2} | {:.0} | {:.0} % | {:.0} % | {:.1} |",
            shown(size),
            range.servers,
            range.loss * 100.0,
            range.seconds,
            count as f64 / range.seconds,
            range.share() * 100.0,
            range.goodput() * 100.0,
            range.processor,
        );
    }
    text
}

/// Width and height of a panel, and the space around it.
const PANEL: (f64, f64) = (300.0, 200.0);
const MARGIN: f64 = 40.0;
/// Colours of the kinds, in the order of [`Kind::ALL`].
const COLOURS: [&str; 4] = ["#d1495b", "#edae49", "#66a182", "#2e4057"];

/// Returns a plot of one scenario: for each size, the share of nodes that have a block after so
/// many milliseconds.
pub(crate) fn plot(all: &[&Figures]) -> String {
    let times: Vec<_> = all.iter().map(|figures| figures.times()).collect();
    let sizes: Vec<usize> =
        times.first().map(|of| of.keys().copied().collect()).unwrap_or_default();
    let (width, height) = PANEL;
    let whole = (sizes.len() as f64 * (width + MARGIN) + MARGIN, height + 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        whole.0, whole.1
    );
    for (panel, size) in sizes.iter().enumerate() {
        let left = MARGIN + panel as f64 * (width + MARGIN);
        let of_size: Vec<(Kind, &Times)> = all
            .iter()
            .zip(&times)
            .filter_map(|(figures, times)| Some((figures.kind, times.get(size)?)))
            .collect();
        let most = of_size.iter().map(|(_, times)| at(&times.each, 0.99)).fold(1.0, f64::max);
        let _ = writeln!(
            text,
            "<rect x=\"{left}\" y=\"{MARGIN}\" width=\"{width}\" height=\"{height}\" fill=\"none\" \
             stroke=\"#999\"/>\n<text x=\"{left}\" y=\"{}\">{}: share of nodes within 0 to \
             {most:.0} ms</text>",
            MARGIN - 8.0,
            shown(*size),
        );
        for (row, (kind, times)) in of_size.iter().enumerate() {
            let colour = Kind::ALL.iter().position(|of| of == kind).unwrap_or_default();
            let colour = COLOURS[colour];
            let points: String = (0..=99).fold(String::new(), |mut points, percent| {
                let share = f64::from(percent) / 100.0;
                let x = left + at(&times.each, share) / most * width;
                let _ = write!(points, "{x:.1},{:.1} ", MARGIN + height * (1.0 - share));
                points
            });
            let _ = writeln!(
                text,
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" \
                 stroke-width=\"1.5\"/>\n<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>",
                left + width - 80.0,
                MARGIN + height - 12.0 - 14.0 * row as f64,
                kind.name(),
            );
        }
    }
    text.push_str("</svg>\n");
    text
}
