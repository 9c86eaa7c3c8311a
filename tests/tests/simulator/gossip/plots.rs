//! The distributions of a run as one SVG picture.

use super::Report;
use std::fmt::Write;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 150.0;
const GAP: f64 = 40.0;

const STYLE: &str = "<style>svg{background:#fff}text{font:11px system-ui,sans-serif;fill:#667085}\
    .h{font-size:13px;font-weight:600;fill:#1d2430}rect{fill:#2f6fde}line{stroke:#dfe2e8}\
    @media(prefers-color-scheme:dark){svg{background:#1a1f28}text{fill:#98a2b3}.h{fill:#e7eaf0}\
    rect{fill:#6ea0ff}line{stroke:#2c3340}}</style>";

/// Returns the picture: a bar for each value, as high as its part of all.
pub(super) fn picture(report: &Report) -> String {
    let charts = [
        ("Hops of a delivery", &report.hops, 1),
        ("Copies of a block that a node received", &report.copies, 1),
        ("Milliseconds from publication to delivery", &report.times, 50),
        ("Peers in the mesh", &report.degrees, 1),
    ];
    let (wide, high) = (2.0 * (WIDTH + GAP) + GAP, 2.0 * (HEIGHT + 70.0) + 10.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" role=\"img\" \
         aria-label=\"distributions of a run\">{STYLE}"
    );
    for (at, (title, counts, unit)) in charts.into_iter().enumerate() {
        let left = GAP + (at % 2) as f64 * (WIDTH + GAP);
        let top = 40.0 + (at / 2) as f64 * (HEIGHT + 70.0);
        let _ = write!(svg, "<g transform=\"translate({left} {top})\">");
        chart(&mut svg, title, counts, unit);
        svg.push_str("</g>");
    }
    svg.push_str("</svg>\n");
    svg
}

fn chart(svg: &mut String, title: &str, counts: &[u64], unit: usize) {
    let all: u64 = counts.iter().sum::<u64>().max(1);
    let most = counts.iter().max().copied().unwrap_or_default().max(1);
    let first = counts.iter().position(|count| *count > 0).unwrap_or_default();
    let shown = &counts[first..];
    let step = WIDTH / shown.len().max(1) as f64;
    let _ = write!(svg, "<text class=\"h\" y=\"-16\">{title}</text>");
    let _ = write!(svg, "<line x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/>");
    // At most a dozen bars have labels.
    let every = shown.len().div_ceil(12).max(1);
    for (at, count) in shown.iter().enumerate() {
        let (x, tall) = (at as f64 * step, HEIGHT * *count as f64 / most as f64);
        let (y, wide) = (HEIGHT - tall, (step - 2.0).max(1.0));
        let part = *count as f64 * 100.0 / all as f64;
        let value = (first + at) * unit;
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\">\
             <title>{value}: {part:.3} %</title></rect>"
        );
        if at % every == 0 {
            let middle = x + step / 2.0;
            let below = HEIGHT + 15.0;
            let _ = write!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{below}\" text-anchor=\"middle\">{value}</text>"
            );
        }
        if *count == most {
            let (middle, above) = (x + step / 2.0, y - 3.0);
            let _ = write!(
                svg,
                "<text x=\"{middle:.1}\" y=\"{above:.1}\" text-anchor=\"middle\">{part:.0} %</text>"
            );
        }
    }
}
