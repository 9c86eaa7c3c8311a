//! The live view: draws one frame from one snapshot.
//!
//! Words and numbers carry all information; colour only repeats it. If there is not enough room,
//! less important parts are left out: among the rows first the charts, then the older blocks; among
//! the columns first the port.

use super::report::BlockLine;
use super::scenario::Scenario;
use super::snapshot::{NodeRow, Snapshot};
use super::tally::State;
use crate::text::{clock, count, millis, short_hash, size};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};
use std::time::Duration;

/// Minimum width for longer ids, in columns.
const WIDE: u16 = 100;
/// Minimum width for two charts side by side, in columns.
const TWO_CHARTS: u16 = 50;
/// Rows of a chart, including its title.
const CHART_ROWS: u16 = 4;
/// Maximum number of rows for the events, including their title.
const EVENT_ROWS: u16 = 5;

/// Draws `snapshot` over the whole frame, of any size. Without `colour` it uses bold text only.
pub fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, colour: bool) {
    let paint = Paint { colour };
    let area = frame.area();
    let mut left = area.height;
    let mut take = |rows: u16| {
        let taken = rows.min(left);
        left -= taken;
        taken
    };
    let nodes = u16::try_from(snapshot.nodes.len()).unwrap_or(u16::MAX);
    let title = take(1);
    let footer = take(1);
    let help = take(if area.height < 16 { 0 } else { 1 });
    // With many followers, the table leaves some room for the other parts.
    let table = take(nodes.saturating_add(1).min(area.height.saturating_sub(12).max(4)));
    let events = take(if area.height < 12 {
        0
    } else {
        EVENT_ROWS.min(2.max(1 + snapshot.notes.len() as u16))
    });
    let charts = take(if area.height < 16 { 0 } else { CHART_ROWS });
    let blocks = take(u16::MAX);
    let rows = [title, table, charts, blocks, events, help, footer].map(Constraint::Length);
    let [title, table, charts, blocks, events, help, footer] = Layout::vertical(rows).areas(area);

    frame.render_widget(Paragraph::new(title_line(snapshot)).style(paint.bold()), title);
    frame.render_widget(node_table(snapshot, table, paint), table);
    draw_charts(frame, snapshot, charts, paint);
    let lines = snapshot
        .blocks
        .iter()
        .take(blocks.height.into())
        .map(|block| Line::from(block.to_string()));
    draw_list(frame, "blocks", lines.collect(), blocks, paint);
    let notes = snapshot.notes.iter().take(events.height.into());
    let mut notes: Vec<Line<'_>> =
        notes.map(|note| Line::from(format!("{:>7} {note}", clock(note.at)))).collect();
    if notes.is_empty() {
        notes.push(Line::from("nothing out of the ordinary"));
    }
    draw_list(frame, "events", notes, events, paint);
    frame.render_widget(Paragraph::new(help_line()), help);
    frame.render_widget(Paragraph::new(footer_line(snapshot, footer.width)), footer);
}

/// Text styles, with or without colour.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn fg(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn state(self, state: State) -> Style {
        match state {
            State::InSync | State::Live => self.fg(Color::Green),
            State::Waiting | State::Behind(_) | State::CatchingUp(_) => self.fg(Color::Yellow),
            State::Gap(_) | State::Disordered | State::Down => {
                self.fg(Color::Red).add_modifier(Modifier::BOLD)
            }
        }
    }
}

fn title_line(snapshot: &Snapshot) -> String {
    let Snapshot { chain_id, fork, block_time, elapsed, published, .. } = snapshot;
    let (block_time, blocks, elapsed) =
        (block_time.as_secs_f64(), count(*published, "block"), clock(*elapsed));
    format!(
        "opp2p devnet  chain {chain_id}  {fork}  block time {block_time} s  {blocks}  {elapsed}"
    )
}

/// Returns the keys that begin scenarios.
fn help_line() -> String {
    let keys = Scenario::ALL.map(|scenario| format!("{}: {scenario}", scenario.key()));
    keys.join("  ")
}

/// Returns the footer: the key that quits, and the page's address if all of it fits, since a
/// truncated address is useless.
fn footer_line(snapshot: &Snapshot, width: u16) -> String {
    let quit = "q or ctrl-c: quit";
    let Some(web) = &snapshot.web else { return quit.to_owned() };
    let both = format!("{quit}   in a browser: {web}");
    if both.len() <= usize::from(width) { both } else { web.clone() }
}

/// A column of the table of nodes.
struct Column {
    title: &'static str,
    width: u16,
    /// Width on a wide terminal.
    wide: u16,
    /// Priority for removal: the column with the highest value is removed first. Values are unique,
    /// so they also identify columns.
    spare: u8,
    right: bool,
    cell: fn(&NodeRow, usize) -> String,
}

const COLUMNS: [Column; 8] = [
    Column {
        title: "node",
        width: 11,
        wide: 12,
        spare: 0,
        right: false,
        cell: |row, _| row.member.to_string(),
    },
    // Shows the end of a peer id: all ids begin alike.
    Column {
        title: "peer",
        width: 6,
        wide: 15,
        spare: 6,
        right: false,
        cell: |row, width| tail(&row.peer_id, width),
    },
    Column {
        title: "port",
        width: 5,
        wide: 5,
        spare: 7,
        right: true,
        cell: |row, _| row.port.to_string(),
    },
    Column { title: "head", width: 13, wide: 17, spare: 2, right: true, cell: head_cell },
    Column {
        title: "peers",
        width: 5,
        wide: 5,
        spare: 5,
        right: true,
        cell: |row, _| row.peers.to_string(),
    },
    Column { title: "acc/ign/rej", width: 11, wide: 14, spare: 3, right: true, cell: verdict_cell },
    Column {
        title: "ms last/50/99",
        width: 14,
        wide: 15,
        spare: 4,
        right: true,
        cell: latency_cell,
    },
    Column { title: "state", width: 8, wide: 10, spare: 1, right: false, cell: state_cell },
];

/// Minimum [`Column::spare`] of the columns that make room for a long state: the peer and the port.
const MAKES_ROOM: u8 = 6;

/// Returns the state, or its essential part if there is not enough room.
fn state_cell(row: &NodeRow, width: usize) -> String {
    let text = row.state.to_string();
    match row.state {
        State::CatchingUp(blocks) if text.len() > width && blocks > 0 => format!("{blocks} to go"),
        _ => text,
    }
}

fn head_cell(row: &NodeRow, width: usize) -> String {
    let digits = if width >= usize::from(COLUMNS[3].wide) { 8 } else { 6 };
    row.head.map_or_else(
        || "-".to_owned(),
        |head| format!("{} {}", head.number, short_hash(&head.hash, digits)),
    )
}

fn verdict_cell(row: &NodeRow, _: usize) -> String {
    format!("{}/{}/{}", row.accepted, row.ignored, row.rejected)
}

fn latency_cell(row: &NodeRow, _: usize) -> String {
    row.latency.map_or_else(
        || "-".to_owned(),
        |figures| [figures.last, figures.p50, figures.p99].map(millis).join("/"),
    )
}

/// Returns the last `width` characters.
fn tail(text: &str, width: usize) -> String {
    text.chars().skip(text.chars().count().saturating_sub(width)).collect()
}

fn node_table(snapshot: &Snapshot, area: Rect, paint: Paint) -> Table<'static> {
    let wide = area.width >= WIDE;
    let usual = |column: &Column| if wide { column.wide } else { column.width };
    let longest = snapshot.nodes.iter().map(|row| row.state.to_string().len()).max();
    let longest = longest.and_then(|longest| u16::try_from(longest).ok()).unwrap_or_default();
    let kept: u16 =
        COLUMNS.iter().filter(|column| column.spare < MAKES_ROOM).map(|c| usual(c) + 1).sum();
    let state_width = COLUMNS.iter().find(|column| column.spare == 1).map_or(0, usual);
    let state_width = match longest.saturating_sub(state_width) {
        more if kept + more <= area.width + 1 => state_width + more,
        _ => state_width,
    };
    let width = |column: &Column| if column.spare == 1 { state_width } else { usual(column) };
    let mut columns: Vec<&Column> = COLUMNS.iter().collect();
    while columns.len() > 1
        && columns.iter().map(|column| width(column) + 1).sum::<u16>() > area.width + 1
    {
        let spared = columns.iter().map(|column| column.spare).max();
        columns.retain(|column| Some(column.spare) != spared);
    }
    let cell = |column: &Column, text: String| {
        let line = Line::from(text);
        Cell::from(if column.right { line.right_aligned() } else { line })
    };
    let header = columns.iter().map(|column| cell(column, column.title.to_owned()));
    let header = Row::new(header.collect::<Vec<_>>()).style(paint.bold());

    let room = usize::from(area.height.saturating_sub(1));
    let shown = if snapshot.nodes.len() > room { room.saturating_sub(1) } else { room };
    let (shown, hidden) = snapshot.nodes.split_at(shown.min(snapshot.nodes.len()));
    let mut rows: Vec<Row<'_>> = shown
        .iter()
        .map(|row| {
            let cells = columns.iter().map(|column| {
                let text = (column.cell)(row, width(column).into());
                let style = match column.spare {
                    1 => paint.state(row.state),
                    3 if row.rejected > 0 => paint.fg(Color::Red),
                    _ => Style::new(),
                };
                cell(column, text).style(style)
            });
            Row::new(cells.collect::<Vec<_>>())
        })
        .collect();
    if !hidden.is_empty() {
        let in_sync =
            hidden.iter().filter(|row| matches!(row.state, State::InSync | State::Live)).count();
        let cells = columns.iter().map(|column| match column.spare {
            0 => Cell::from(format!("{} more", hidden.len())),
            1 => Cell::from(format!("{in_sync} ok")),
            _ => Cell::default(),
        });
        rows.push(Row::new(cells.collect::<Vec<_>>()));
    }
    let mut widths: Vec<Constraint> =
        columns.iter().map(|column| Constraint::Length(width(column))).collect();
    // If the terminal is narrower than the last column, the names take the whole width.
    if columns.len() == 1 {
        widths = vec![Constraint::Fill(1)];
    }
    Table::new(rows, widths).header(header).column_spacing(1)
}

fn draw_charts(frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect, paint: Paint) {
    let slowest = |block: &BlockLine| block.slowest.map(|slowest| slowest.as_micros() as u64);
    let bytes = |block: &BlockLine| Some(block.bytes as u64);
    let latency = |value| format!("{} ms", millis(Duration::from_micros(value)));
    let [left, right] = if area.width < TWO_CHARTS {
        [area, Rect::ZERO]
    } else {
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(area)
    };
    draw_chart(
        frame,
        "latency",
        snapshot.blocks.iter().map(slowest),
        latency,
        left,
        paint.fg(Color::Cyan),
    );
    draw_chart(
        frame,
        "block size",
        snapshot.blocks.iter().map(bytes),
        size,
        right,
        paint.fg(Color::Blue),
    );
}

/// Draws a bar for each value; `values` has the newest first, which is the rightmost on the screen.
fn draw_chart(
    frame: &mut Frame<'_>,
    name: &str,
    values: impl Iterator<Item = Option<u64>>,
    text: impl Fn(u64) -> String,
    area: Rect,
    style: Style,
) {
    let mut values: Vec<Option<u64>> = values.take(area.width.into()).collect();
    values.reverse();
    let title = match (values.iter().rev().find_map(|value| *value), values.iter().flatten().max())
    {
        (Some(last), Some(max)) => format!("{name}: last {}, max {} ", text(last), text(*max)),
        _ => format!("{name} "),
    };
    // On a linear scale, a block of a megabyte would flatten the usual ones; square roots keep both
    // visible.
    let bars = values.into_iter().map(|value| value.map(|value| value.saturating_mul(100).isqrt()));
    let chart =
        Sparkline::default().data(bars.collect::<Vec<_>>()).style(style).block(section(title));
    frame.render_widget(chart, area);
}

fn draw_list(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'_>>, area: Rect, paint: Paint) {
    let title = Line::styled(format!("{title} "), paint.bold());
    frame.render_widget(Paragraph::new(lines).block(section(title)), area);
}

fn section<'a>(title: impl Into<Line<'a>>) -> Block<'a> {
    Block::new().borders(Borders::TOP).title(title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::report::outage::tests::{caught_up, killed, restarted};
    use crate::devnet::report::tests::{BOTH, ms, publish, receive, report};
    use crate::devnet::{Member, NodeInfo, Report, Setup};
    use opp2p_core::gossip::Reason;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::{Buffer, Cell};

    /// Returns a record of twelve blocks; the second follower lacks the last two.
    fn busy() -> Report {
        let mut report = report();
        report.peers(Member::Sequencer, 2);
        for number in 1..=12 {
            publish(&mut report, number);
            receive(&mut report, BOTH[0], number, number);
            if number <= 10 {
                receive(&mut report, BOTH[1], number, 3 * number);
            }
        }
        report.verdict(BOTH[1], Err(Reason::BlockHash), ms(7_000));
        report
    }

    fn buffer(snapshot: &Snapshot, width: u16, height: u16, colour: bool) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, snapshot, colour)).unwrap().buffer.clone()
    }

    fn screen(report: &Report, width: u16, height: u16) -> String {
        let snapshot = report.snapshot(Duration::from_secs(65));
        let buffer = buffer(&snapshot, width, height, false);
        let rows = buffer.content().chunks(width.into());
        rows.map(|row| row.iter().map(Cell::symbol).collect::<String>() + "\n").collect()
    }

    fn many(followers: u16) -> Report {
        let node = |index| NodeInfo { peer_id: format!("peer{index}"), port: index };
        let followers = (1..=followers).map(node).collect();
        let fork = opp2p_core::chain::Fork::Ecotone;
        Report::new(Setup {
            chain_id: 901,
            fork,
            block_time: ms(2000),
            sequencer: node(0),
            followers,
            web: None,
        })
    }

    #[test]
    fn a_usual_terminal_shows_every_node_block_and_event() {
        let text = screen(&busy(), 100, 30);
        println!("{text}");
        let line = |start: &str| {
            text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
        };
        assert!(
            text.starts_with("opp2p devnet  chain 901  jovian  block time 0.5 s  12 blocks  1:05")
        );
        let words = |start: &str| {
            line(start).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            words("sequencer"),
            "sequencer 5vXpN2JQ2nZ0000 9000 12 0c0c0c0c 2 0/0/0 - in sync"
        );
        assert!(words("follower 1").ends_with("12 0c0c0c0c 0 12/0/0 12.0/6.00/12.0 in sync"));
        assert!(words("follower 2").ends_with("10 0a0a0a0a 0 10/0/1 30.0/15.0/30.0 2 behind"));
        assert!(text.contains("latency: last 12.0 ms, max 30.0 ms"));
        assert!(text.contains("block size: last 30.0 kB, max 30.0 kB"));
        assert!(
            line("12 ").contains("0x0c0c0c0c    20 txs   30.0 kB  1/2 followers  slowest 12.0 ms")
        );
        assert!(
            text.contains("0:07 follower 2: reject: the block hash does not match the contents")
        );
        assert_eq!(text.lines().last().map(str::trim_end), Some("q or ctrl-c: quit"));
    }

    #[test]
    fn the_smallest_usual_terminal_loses_no_column() {
        let text = screen(&busy(), 80, 24);
        println!("{text}");
        for column in &COLUMNS {
            assert!(text.lines().nth(1).unwrap().contains(column.title), "{}", column.title);
        }
        assert!(text.contains("2 behind") && text.contains("latency:") && text.contains("reject:"));
    }

    #[test]
    fn the_keys_of_the_scenarios_are_listed_if_there_is_room() {
        let keys = "r: reorg  e: equivocation  w: rewind  p: partition  l: lying-peer  2: 200ms";
        for (width, height, is_shown) in [(80, 24, true), (100, 30, true), (80, 15, false)] {
            let text = screen(&busy(), width, height);
            let found = text.lines().rev().nth(1).is_some_and(|line| line.trim_end() == keys);
            assert_eq!(found, is_shown, "{text}");
        }
    }

    #[test]
    fn a_narrow_terminal_keeps_the_names_and_the_states() {
        let text = screen(&busy(), 24, 12);
        println!("{text}");
        assert!(text.contains("follower 2  2 behind"));
        assert!(screen(&busy(), 12, 6).contains("follower 2"));
    }

    /// Returns the row of the second follower, with single spaces between its words.
    fn second(text: &str) -> String {
        let line = text.lines().find(|line| line.starts_with("follower 2")).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_down_follower_shows_no_peers_and_its_last_head() {
        for (width, height) in [(80, 24), (100, 30), (140, 40)] {
            let text = screen(&killed(5), width, height);
            println!("{text}");
            assert!(second(&text).ends_with("0 5/0/0 4.00/4.00/4.00 down"), "{text}");
            assert!(text.contains("0:05 follower 2: down: killed with block 5 as its stored head"));
            assert!(
                text.lines()
                    .nth(1)
                    .is_some_and(|head| head.contains("peer ") && head.contains("port"))
            );
        }
    }

    #[test]
    fn a_catching_up_follower_shows_how_far_it_is() {
        let mut report = restarted(5);
        report.heights(BOTH[1], Some(5), Some(42));
        for (width, height) in [(80, 24), (100, 30), (140, 40)] {
            let text = screen(&report, width, height);
            println!("{text}");
            assert!(second(&text).ends_with("4.00/4.00/4.00 catching up: 37 to go"), "{text}");
            // The peer and the port make room if needed.
            let header = text.lines().nth(1).unwrap_or_default();
            assert_eq!(header.contains("port"), width == 140, "{text}");
            assert!(
                ["head", "peers", "acc/ign/rej", "ms last"]
                    .iter()
                    .all(|title| header.contains(title))
            );
            assert!(text.contains("0:09 follower 2: catching up: started again, 4 blocks missed"));
        }
        assert!(screen(&report, 60, 24).contains("37 to go"), "nothing else gives way");
        assert!(screen(&report, 24, 12).contains("follower 2  37 to go"));
        report.heights(BOTH[1], Some(5), None);
        assert!(second(&screen(&report, 80, 24)).ends_with("catching up"));
    }

    #[test]
    fn a_caught_up_follower_is_live_and_all_columns_return() {
        let text = screen(&caught_up(), 80, 24);
        println!("{text}");
        assert!(second(&text).ends_with("10 0a0a0a 0 6/0/0 4.00/4.00/4.00 live"), "{text}");
        assert!(
            text.lines()
                .nth(1)
                .is_some_and(|header| header.contains("peer ") && header.contains("port"))
        );
        assert!(text.contains("0:10 follower 2: live: 5 blocks caught up in 1.21 s"));
    }

    #[test]
    fn the_page_address_is_shown_whole_or_not_at_all() {
        let web = |width| {
            let mut snapshot = busy().snapshot(ms(0));
            snapshot.web = Some("http://127.0.0.1:40123/".into());
            footer_line(&snapshot, width)
        };
        assert_eq!(web(80), "q or ctrl-c: quit   in a browser: http://127.0.0.1:40123/");
        assert_eq!(web(40), "http://127.0.0.1:40123/");
        assert_eq!(footer_line(&busy().snapshot(ms(0)), 80), "q or ctrl-c: quit");
    }

    #[test]
    fn followers_beyond_the_rows_are_counted() {
        let mut report = many(40);
        publish(&mut report, 1);
        for index in [0, 30, 31] {
            receive(&mut report, Member::Follower(index), 1, 5);
        }
        let text = screen(&report, 80, 24);
        println!("{text}");
        let shown = text.lines().filter(|line| line.starts_with("follower ")).count();
        let rest = text.lines().find(|line| line.contains(" more ")).unwrap_or_default();
        let rest: Vec<&str> = rest.split_whitespace().collect();
        assert_eq!(rest, [&(40 - shown).to_string(), "more", "2", "ok"]);
        assert!(text.contains("blocks ") && text.contains("nothing out of the ordinary"));
    }

    #[test]
    fn no_terminal_size_panics() {
        let snapshots = [busy(), report(), many(40), killed(5), restarted(5)]
            .map(|report| report.snapshot(Duration::MAX));
        let sizes = |most: u16| (1..=20).chain((21..most).step_by(13)).chain([most]);
        for width in sizes(200) {
            for height in sizes(60) {
                for snapshot in &snapshots {
                    buffer(snapshot, width, height, true);
                }
            }
        }
    }

    #[test]
    fn colour_adds_no_information_to_the_text() {
        let snapshot = busy().snapshot(Duration::from_secs(65));
        let (plain, coloured) =
            (buffer(&snapshot, 100, 30, false), buffer(&snapshot, 100, 30, true));
        let symbols = |buffer: &Buffer| {
            buffer.content().iter().map(|cell| cell.symbol().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(symbols(&plain), symbols(&coloured));
        let is_plain = |buffer: &Buffer| {
            buffer.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset))
        };
        assert!(is_plain(&plain) && !is_plain(&coloured));
    }
}
