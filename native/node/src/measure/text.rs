//! Writer of Prometheus' text format (exposition format 0.0.4).
//!
//! It is our own because the reference has counters whose names do not end in `_total` and gauges
//! whose names do. OpenMetrics, the format of the Rust libraries, allows neither.

use super::histogram::Histogram;
use std::fmt::{self, Display, Write as _};

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that only grows, and starts at zero with the process.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts of observations by range.
    Histogram,
}

impl Kind {
    /// Returns `counter`, `gauge` or `histogram`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels of a sample: names and values. Both must come from our own lists, never from a peer.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Text made of families, written one after another; [`Self::finish`] returns it.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    namespace: String,
}

impl Exposition {
    /// Creates an empty text. The names of the reference's families get the prefix `namespace` and
    /// `_`.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self { text: String::new(), namespace: namespace.into() }
    }

    /// Starts a family that the reference has too; `name` is without the namespace. All of its
    /// samples must be written before the next family starts.
    pub fn reference(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        let name = format!("{}_{name}", self.namespace);
        self.family(name, kind, help)
    }

    /// Starts a family with its full name: one of our own (`opp2p_…`), or a standard one of
    /// processes (`process_…`).
    pub fn own(&mut self, name: &str, kind: Kind, help: &str) -> Family<'_> {
        self.family(name.to_owned(), kind, help)
    }

    fn family(&mut self, name: String, kind: Kind, help: &str) -> Family<'_> {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "# HELP {name} {}", Escaped(help, false));
        let _ = writeln!(self.text, "# TYPE {name} {}", kind.name());
        Family { text: &mut self.text, name }
    }

    /// Returns the text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// One family, to which samples are written.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: String,
}

impl Family<'_> {
    /// Writes a sample with these labels.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// Writes the only sample, without labels.
    pub fn value(&mut self, value: impl Display) {
        self.sample(&[], value);
    }

    /// Writes all samples of a histogram with these labels.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) -> &mut Self {
        let (counts, sum) = histogram.read();
        let mut below = 0;
        for (bound, count) in histogram.bounds().iter().zip(&counts) {
            below += count;
            self.line("_bucket", labels, Some(&bound.to_string()), below);
        }
        let all: u64 = counts.iter().sum();
        self.line("_bucket", labels, Some("+Inf"), all);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, all);
        self
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let labels = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let mut before = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{before}{name}=\"{}\"", Escaped(value, true));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A help text or a label value, with escapes for the characters that would end it.
struct Escaped<'a>(&'a str, bool);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, is_label) = self;
        for character in text.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if *is_label => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut text = Exposition::new("op_node_default");
        text.reference("p2p_dials", Kind::Counter, "Dials.")
            .sample(&[("allow", "true")], 3)
            .sample(&[("allow", "false")], 1);
        text.own("opp2p_odd", Kind::Gauge, "A \"\\\nB").sample(&[("name", "a\"\\\nb")], -0.5);
        let times = Histogram::new(&[0.5, 1.0]);
        for value in [0.25, 0.5, 0.75, 8.0] {
            times.observe(value);
        }
        text.own("opp2p_seconds", Kind::Histogram, "Times.")
            .histogram(&[("of", "x")], &times)
            .histogram(&[], &Histogram::new(&[]));
        let expected = r#"# HELP op_node_default_p2p_dials Dials.
# TYPE op_node_default_p2p_dials counter
op_node_default_p2p_dials{allow="true"} 3
op_node_default_p2p_dials{allow="false"} 1
# HELP opp2p_odd A "\\\nB
# TYPE opp2p_odd gauge
opp2p_odd{name="a\"\\\nb"} -0.5
# HELP opp2p_seconds Times.
# TYPE opp2p_seconds histogram
opp2p_seconds_bucket{of="x",le="0.5"} 2
opp2p_seconds_bucket{of="x",le="1"} 3
opp2p_seconds_bucket{of="x",le="+Inf"} 4
opp2p_seconds_sum{of="x"} 9.5
opp2p_seconds_count{of="x"} 4
opp2p_seconds_bucket{le="+Inf"} 0
opp2p_seconds_sum 0
opp2p_seconds_count 0
"#;
        assert_eq!(text.finish(), expected);
    }
}
