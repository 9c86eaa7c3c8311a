//! One frame of the live view of a node.

use super::peers::{latency, printable, state, way};
use super::status;
use crate::rpc::types::{NodeStatus, PeerInfo, VerdictInfo};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

/// What is shown.
#[derive(Debug)]
pub(super) struct View {
    pub(super) status: NodeStatus,
    pub(super) peers: Vec<PeerInfo>,
    /// The newest first.
    pub(super) verdicts: Vec<VerdictInfo>,
    /// Why the node was not asked the last time.
    pub(super) trouble: Option<String>,
}

/// Draws it over the whole frame, of any size. Without `colour` only bold text is used.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, colour: bool) {
    let area = frame.area();
    let text = status::text(&view.status);
    let status_rows = u16::try_from(text.lines().count()).unwrap_or(u16::MAX).min(area.height);
    let left = area.height.saturating_sub(status_rows + 1);
    let peer_rows = u16::try_from(view.peers.len() + 1).unwrap_or(u16::MAX).min(left.div_ceil(2));
    let rows = [status_rows, peer_rows, left.saturating_sub(peer_rows), 1];
    let [top, peers, verdicts, footer] = Layout::vertical(rows.map(Constraint::Length)).areas(area);
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
        b.scores.gossip.total.total_cmp(&a.scores.gossip.total).then_with(|| a.peer_id.cmp(&b.peer_id))
    });
    list(frame, "peers", sorted.into_iter().map(|peer| Line::from(peer_line(peer))), peers);
    let lines = view.verdicts.iter().map(|verdict| {
        let line = verdict_line(verdict);
        if colour && verdict.verdict == "reject" {
            Line::styled(line, Style::new().fg(Color::Red))
        } else {
            Line::from(line)
        }
    });
    list(frame, "messages", lines, verdicts);
    let footer_line = match &view.trouble {
        Some(why) => Line::styled(why.clone(), Style::new().add_modifier(Modifier::BOLD)),
        None => Line::from("q or ctrl-c: quit"),
    };
    frame.render_widget(Paragraph::new(footer_line), footer);
}

fn list<'a>(frame: &mut Frame<'_>, title: &'static str, lines: impl Iterator<Item = Line<'a>>, area: Rect) {
    if area.height < 2 {
        return;
    }
    let lines: Vec<Line<'a>> = lines.take(area.height.into()).collect();
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn peer_line(peer: &PeerInfo) -> String {
    let agent = printable(&peer.user_agent);
    let (way, latency, state) = (way(peer), latency(peer), state(peer));
    let score = peer.scores.gossip.total;
    format!("{}  {way:3}  {latency:>9}  {score:>8.2}  {state:9}  {agent}", peer.peer_id)
}

fn verdict_line(verdict: &VerdictInfo) -> String {
    let clock = verdict.at / 1000 % 86_400;
    let (hours, minutes, seconds) = (clock / 3600, clock / 60 % 60, clock % 60);
    let what = match (&verdict.block, &verdict.reason) {
        (Some(block), _) => format!("block {}", block.number),
        (None, Some(reason)) => reason.clone(),
        (None, None) => String::new(),
    };
    let peer = &verdict.peer_id;
    let tail = peer.len().checked_sub(8).and_then(|at| peer.get(at..)).unwrap_or(peer);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}  v{}  {:6}  {what}  from …{tail}",
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
            scores: serde_json::from_value(json!({ "gossip": { "total": score } })).expect("scores"),
            ..PeerInfo::default()
        };
        let verdicts = json!([
            {
                "at": 45_296_000, "peerID": "16Uiu2HAm3cuhhRL2ms", "topic": 4, "verdict": "reject", "block": null,
                "reason": "wrong_signer", "text": "signed by another key",
            },
            {
                "at": 45_295_000, "peerID": "x", "topic": 3, "verdict": "accept",
                "block": { "number": 12, "hash": format!("0x{}", "ab".repeat(32)) }, "reason": null, "text": null,
            },
        ]);
        let verdicts = serde_json::from_value(verdicts).expect("the shape");
        View {
            status: busy(),
            peers: vec![peer("worse", -3.0), peer("better", 5.25)],
            verdicts,
            trouble: None,
        }
    }

    #[test]
    fn all_of_it_is_on_a_screen_of_usual_size() {
        let text = screen(&view(), 120, 40);
        for part in [
            "OP Mainnet (10)",
            "24 missing above 100",
            "better  in     12.3 ms      5.25  gossips    op-node/1[2J",
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
    fn any_size_will_do_and_trouble_is_told() {
        let view = View { trouble: Some("no node answers at 127.0.0.1:9545".into()), ..view() };
        assert!(screen(&view, 100, 30).contains("no node answers at 127.0.0.1:9545"));
        for (width, height) in [(1, 1), (10, 3), (24, 12), (500, 200)] {
            screen(&view, width, height);
        }
    }
}
