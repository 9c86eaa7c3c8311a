//! Draws one frame of the live view of a node.

use super::peers::{latency, printable, state, way};
use super::status;
use super::watch_view::View;
use crate::rpc::types::{NodeStatus, PeerInfo, VerdictInfo};
use crate::text::count;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};
use std::time::Duration;

/// Time without an answer after which the contents count as stale. The node is asked every second.
const STALE: Duration = Duration::from_secs(3);

impl View {
    /// Returns the seconds since the last answer if the contents are stale.
    fn stale(&self) -> Option<u64> {
        (self.silent >= STALE).then_some(self.silent.as_secs())
    }

    /// Returns the last line: the key that ends the view, after what is wrong.
    fn footer(&self) -> String {
        const QUIT: &str = "q or ctrl-c: quit";
        match (self.stale(), &self.trouble) {
            (Some(seconds), Some(why)) => {
                format!("{QUIT} | STALE, no answer for {seconds} s: {why}")
            }
            (Some(seconds), None) => format!("{QUIT} | STALE, no answer for {seconds} s"),
            (None, Some(why)) => format!("{QUIT} | {why}"),
            (None, None) => QUIT.to_owned(),
        }
    }
}

/// Draws the view over the whole frame, of any size. Without `colour` it uses only bold text.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, colour: bool) {
    let area = frame.area();
    let text = status::text(&view.status);
    let text = match view.stale() {
        Some(seconds) => stale(&text, seconds),
        None => text,
    };
    let troubles = trouble_lines(&view.status, area.width.into(), usize::from(area.height) / 3);
    let trouble_rows = u16::try_from(troubles.len()).unwrap_or(u16::MAX);
    let status_rows = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
    let status_rows = status_rows.min(area.height.saturating_sub(trouble_rows + 1));
    let left = area.height.saturating_sub(trouble_rows + status_rows + 1);
    let peer_rows = u16::try_from(view.peers.len() + 1).unwrap_or(u16::MAX).min(left.div_ceil(2));
    let rows = [trouble_rows, status_rows, peer_rows, left.saturating_sub(peer_rows), 1];
    let areas = Layout::vertical(rows.map(Constraint::Length)).areas(area);
    let [above, top, peers, verdicts, footer] = areas;
    let warning = if colour { Style::new().fg(Color::Yellow) } else { Style::new() };
    let warning = warning.add_modifier(Modifier::BOLD);
    let troubles: Vec<Line<'_>> =
        troubles.into_iter().map(|line| Line::styled(line, warning)).collect();
    frame.render_widget(Paragraph::new(troubles), above);
    let style = if view.status.ready { Color::Green } else { Color::Yellow };
    let lines: Vec<Line<'_>> = text
        .lines()
        .map(|line| match line.starts_with("ready") && colour {
            true => Line::styled(line.to_owned(), Style::new().fg(style)),
            false => Line::from(line.to_owned()),
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), top);
    let mut sorted: Vec<&PeerInfo> = view.peers.iter().collect();
    sorted.sort_by(|a, b| {
        b.scores
            .gossip
            .total
            .total_cmp(&a.scores.gossip.total)
            .then_with(|| a.peer_id.cmp(&b.peer_id))
    });
    list(
        frame,
        "peers",
        sorted
            .into_iter()
            .map(|peer| Line::from(peer_line(peer, area.width, view.status.chain_id))),
        peers,
    );
    let lines = view.verdicts.iter().map(|verdict| {
        let line = verdict_line(verdict);
        if colour && verdict.verdict == "reject" {
            Line::styled(line, Style::new().fg(Color::Red))
        } else {
            Line::from(line)
        }
    });
    list(frame, "messages", lines, verdicts);
    if view.stale().is_some() {
        frame.buffer_mut().set_style(area, Style::new().add_modifier(Modifier::DIM));
    }
    let is_quiet = view.trouble.is_none() && view.stale().is_none();
    let style = if is_quiet { Style::new() } else { Style::new().add_modifier(Modifier::BOLD) };
    frame.render_widget(Paragraph::new(Line::styled(view.footer(), style)), footer);
}

/// Returns the text of a status that a node gave this many seconds ago. Nothing is known of the
/// node's readiness since, and the ages of that time are not ages now.
fn stale(text: &str, seconds: u64) -> String {
    let lines = text.lines().map(|line| {
        if line.starts_with("ready") {
            return format!("{:9} unknown: no answer for {seconds} s", "ready");
        }
        match line.strip_suffix(" old").filter(|_| line.starts_with("head")) {
            Some(line) => format!("{line} old {seconds} s ago"),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the troubles, broken into lines of this width and at most `most` lines. What has no room
/// is counted in the last one.
fn trouble_lines(status: &NodeStatus, width: usize, most: usize) -> Vec<String> {
    let all = status::troubles(status);
    let mut lines = Vec::new();
    for (at, text) in all.iter().enumerate() {
        let broken = broken(text, width);
        let is_last = at + 1 == all.len();
        // A line is kept for the number of those that are left out.
        if lines.len() + broken.len() + usize::from(!is_last) > most {
            // The first one is cut rather than left out.
            if at == 0 {
                lines.extend(broken.into_iter().take(most.saturating_sub(usize::from(!is_last))));
            }
            let hidden = all.len() - at - usize::from(at == 0);
            if hidden > 0 && most > 0 {
                let text =
                    format!("{} more: opp2p status shows all", count(hidden as u64, "trouble"));
                lines.push(text);
            }
            break;
        }
        lines.extend(broken);
    }
    lines
}

/// Breaks a text at spaces into lines of at most `width` characters. A longer word is cut.
fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.chars().take(width).collect()),
        }
    }
    lines
}

fn list<'a>(
    frame: &mut Frame<'_>,
    title: &'static str,
    lines: impl Iterator<Item = Line<'a>>,
    area: Rect,
) {
    if area.height < 2 {
        return;
    }
    let lines: Vec<Line<'a>> = lines.take(area.height.into()).collect();
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Formats a peer for a screen of this width: a narrow one has only the end of the peer's id, so
/// that the rest fits.
fn peer_line(peer: &PeerInfo, width: u16, chain: u64) -> String {
    const WIDE: u16 = 110;
    let agent = printable(&peer.user_agent);
    let (way, latency, state) = (way(peer), latency(peer), state(peer, chain));
    let score = peer.scores.gossip.total;
    let id = match width < WIDE {
        true => format!("…{}", tail(&peer.peer_id)),
        false => peer.peer_id.clone(),
    };
    format!("{id}  {way:3}  {latency:>9}  {score:>8.2}  {state:11}  {agent}")
}

/// Returns the end of a peer's id. All ids have the same beginning.
fn tail(peer: &str) -> &str {
    peer.len().checked_sub(8).and_then(|at| peer.get(at..)).unwrap_or(peer)
}

fn verdict_line(verdict: &VerdictInfo) -> String {
    let clock = verdict.at % 86_400;
    let (hours, minutes, seconds) = (clock / 3600, clock / 60 % 60, clock % 60);
    let what = match (&verdict.block, &verdict.reason) {
        (Some(block), _) => format!("block {}", block.number),
        (None, Some(reason)) => reason.clone(),
        (None, None) => String::new(),
    };
    let tail = tail(&verdict.peer_id);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}  {}  {:6}  {what}  from …{tail}",
        verdict.topic, verdict.verdict
    )
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::busy;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, view, true)).expect("drawn");
        terminal.backend().to_string()
    }

    fn view() -> View {
        let peer = |id: &str, score: f64| PeerInfo {
            peer_id: id.into(),
            user_agent: "op-node/1\u{1b}[2J".into(),
            connectedness: 1,
            direction: 1,
            latency: 12_300_000,
            gossip_blocks: true,
            scores: serde_json::from_value(json!({ "gossip": { "total": score } }))
                .expect("scores"),
            ..PeerInfo::default()
        };
        let verdicts = json!([
            {
                "at": 45_296, "atMs": 45_296_000, "peerID": "16Uiu2HAm3cuhhRL2ms", "topic": "v4",
                "verdict": "reject", "block": null,
                "reason": "wrong_signer", "text": "signed by another key",
            },
            {
                "at": 45_295, "atMs": 45_295_000, "peerID": "x", "topic": "v3", "verdict": "accept",
                "block": { "number": 12, "hash": format!("0x{}", "ab".repeat(32)) }, "reason": null,
                "text": null,
            },
        ]);
        let verdicts = serde_json::from_value(verdicts).expect("the shape");
        View {
            status: busy(),
            peers: vec![peer("worse", -3.0), peer("better", 5.25)],
            verdicts,
            trouble: None,
            silent: Duration::ZERO,
        }
    }

    #[test]
    fn everything_fits_on_a_screen_of_usual_size() {
        let text = screen(&view(), 120, 40);
        for part in [
            "OP Mainnet (10)",
            "24 missing above 100",
            "better  in     12.3 ms      5.25  gossips      op-node/1[2J",
            "12:34:56  v4  reject  wrong_signer  from …uhhRL2ms",
            "block 12",
            "q or ctrl-c: quit",
        ] {
            assert!(text.contains(part), "{part:?} is not on\n{text}");
        }
        let (better, worse) = (text.find("better"), text.find("worse"));
        assert!(better < worse, "the best score comes first");
    }

    #[test]
    fn the_view_is_marked_stale_when_the_node_does_not_answer() {
        let healthy = || {
            let mut view = view();
            view.status.ready = true;
            view
        };
        let text = screen(&View { silent: Duration::from_secs(2), ..healthy() }, 120, 40);
        assert!(text.contains("ready     yes") && !text.contains("STALE"), "{text}");
        let late = View { silent: Duration::from_secs(17), ..healthy() };
        let text = screen(&late, 120, 40);
        assert!(!text.contains("ready     yes"), "{text}");
        for part in [
            "ready     unknown: no answer for 17 s",
            "65 s old 17 s ago",
            "q or ctrl-c: quit | STALE, no answer for 17 s",
        ] {
            assert!(text.contains(part), "{part:?} is not on\n{text}");
        }
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("a terminal");
        terminal.draw(|frame| draw(frame, &late, true)).expect("drawn");
        let cell = &terminal.backend().buffer()[(0, 0)];
        assert!(cell.modifier.contains(Modifier::DIM), "{cell:?}");
    }

    #[test]
    fn troubles_are_at_the_top_of_a_small_screen() {
        let text = screen(&view(), 80, 24);
        let lines: Vec<&str> = text.lines().map(|line| line.trim_matches('"').trim_end()).collect();
        assert_eq!(
            lines[..3],
            [
                "trouble since 2026-05-01 00:00:00 UTC: Blocks are not stored: the disk is full;",
                "make room on the disk",
                "trouble since 2026-05-01 00:00:00 UTC: No peer is connected; check the network",
            ],
            "{text}"
        );
        assert!(text.contains("q or ctrl-c: quit") && text.contains("head      100"), "{text}");
        // A third of the screen's lines.
        let mut many = view();
        many.status.troubles = many.status.troubles.iter().cycle().take(20).cloned().collect();
        let text = screen(&many, 80, 24);
        assert!(text.contains("16 troubles more: opp2p status shows all"), "{text}");
        // None of the lines is longer than the screen is wide, and the first one is always there.
        for (width, most) in [(80, 1), (10, 2), (3, 8), (1, 1), (0, 0)] {
            let lines = trouble_lines(&many.status, width, most);
            assert!(lines.len() <= most, "{width} {most}: {lines:?}");
        }
        assert!(trouble_lines(&many.status, 80, 2)[0].starts_with("trouble since"));
        let mut well = view();
        well.status.troubles.clear();
        assert!(!screen(&well, 80, 24).contains("trouble"));
    }

    #[test]
    fn a_peer_line_fits_on_a_narrow_screen() {
        let mut view = view();
        view.peers[0].peer_id = "16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq".into();
        let text = screen(&view, 80, 24);
        assert!(
            text.contains("…Ho42cFMq  in     12.3 ms     -3.00  gossips      op-node"),
            "{text}"
        );
    }

    #[test]
    fn any_terminal_size_works_and_trouble_is_shown() {
        let view = View { trouble: Some("no node answers at 127.0.0.1:9545".into()), ..view() };
        assert!(screen(&view, 100, 30).contains("no node answers at 127.0.0.1:9545"));
        for (width, height) in [(1, 1), (10, 3), (24, 12), (500, 200)] {
            screen(&view, width, height);
        }
    }
}
