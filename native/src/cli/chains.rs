//! `opp2p chains`: lists the built-in networks, or shows one.

use super::{Failure, answer};
use crate::text::utc;
use opp2p_core::chain::networks::{self, Network};
use opp2p_core::chain::{ChainConfig, Fork};
use opp2p_core::discovery::bootnodes;
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Network to show: name, slug such as op-mainnet or base-sepolia, or chain id. Without it, all
    /// networks are listed.
    name: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match args.name.as_deref() {
        None if args.json => {
            let all: Vec<Value> = networks::all().map(json_of).collect();
            answer(json!({ "tableDate": networks::TABLE_DATE, "networks": all }))?;
        }
        None => {
            answer(list())?;
        }
        Some(name) => {
            let network = networks::find(name)?;
            answer(if args.json { json_of(network).to_string() } else { text_of(network) })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns one line per network.
fn list() -> String {
    let rows = networks::all().map(|network| {
        let config = network.config();
        let latest = Fork::ALL.into_iter().rfind(|fork| config.forks.activation(*fork).is_some());
        [
            network.slug.to_owned(),
            network.chain_id.to_string(),
            network.l1_chain_id.to_string(),
            config.schedule().changes().last().map_or_else(String::new, |piece| span(piece.3)),
            latest.map_or_else(String::new, |fork| fork.name().to_owned()),
            if network.unsafe_block_signer.is_some() { "built in" } else { "from L1" }.to_owned(),
        ]
    });
    let heading =
        ["network", "chain id", "L1", "interval", "last fork", "signer"].map(String::from);
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = write!(text, "Table of {}. opp2p chains NAME tells more.", networks::TABLE_DATE);
    text
}

/// Formats an interval: `2 s`, `200 ms`.
fn span(interval: Duration) -> String {
    match interval.subsec_millis() {
        0 => format!("{} s", interval.as_secs()),
        _ => format!("{} ms", interval.as_millis()),
    }
}

fn text_of(network: &Network) -> String {
    let config = network.config();
    let unknown = "not known here: read from L1 with --l1 URL";
    let mut lines = vec![
        ("name", network.name.to_owned()),
        (
            "also",
            std::iter::once(network.slug)
                .chain(network.aliases.iter().copied())
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("chain id", network.chain_id.to_string()),
        ("L1 chain id", network.l1_chain_id.to_string()),
        ("genesis", format!("block {} {}", config.genesis.number, config.genesis.hash)),
        ("", format!("at {}", moment(config.genesis.time))),
    ];
    for (fork, number, time, interval) in config.schedule().changes() {
        let (from, at) = (fork.map_or("genesis", Fork::name), moment(time / 1000));
        lines.push((
            "interval",
            format!("{} from {from} on: block {number} at {at}", span(interval)),
        ));
    }
    for fork in Fork::ALL {
        if let Some(time) = config.forks.activation(fork) {
            lines.push((
                fork.name(),
                if time == 0 { "from genesis on".into() } else { moment(time) },
            ));
        }
    }
    let signer =
        config.unsafe_block_signer.map_or_else(|| unknown.into(), |signer| signer.to_string());
    lines.push(("signer", signer));
    let contract = config.system_config.map_or_else(|| "not known".into(), |at| at.to_string());
    lines.push(("SystemConfig", contract));
    lines.push(("boot nodes", boot_nodes(&config).to_string()));
    lines.push(("table of", networks::TABLE_DATE.to_owned()));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> =
        lines.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

/// Formats a time: `2024-01-11 17:00:01 UTC (1704992401)`.
fn moment(unix: u64) -> String {
    format!("{} ({unix})", utc(unix))
}

/// Returns the number of built-in boot nodes of this chain.
fn boot_nodes(chain: &ChainConfig) -> usize {
    bootnodes::of_chain(chain.chain_id, chain.l1_chain_id).count()
}

fn json_of(network: &Network) -> Value {
    let config = network.config();
    let forks = Fork::ALL.into_iter().filter_map(|fork| {
        let time = config.forks.activation(fork)?;
        Some((fork.name().to_owned(), json!({ "time": time, "date": utc(time) })))
    });
    let schedule = config.schedule();
    let intervals = schedule.changes().map(|(fork, number, time, interval)| {
        json!({
            "millis": interval.as_millis() as u64,
            "fork": fork.map(Fork::name),
            "firstBlock": number,
            "firstTimeMillis": time,
        })
    });
    json!({
        "name": network.name,
        "slug": network.slug,
        "aliases": network.aliases,
        "chainId": network.chain_id,
        "l1ChainId": network.l1_chain_id,
        "genesis": {
            "number": config.genesis.number, "hash": config.genesis.hash,
            "time": config.genesis.time,
        },
        "intervals": intervals.collect::<Vec<_>>(),
        "forks": forks.collect::<serde_json::Map<_, _>>(),
        "signer": config.unsafe_block_signer,
        "systemConfig": config.system_config,
        "bootNodes": boot_nodes(&config),
        "tableDate": networks::TABLE_DATE,
    })
}
