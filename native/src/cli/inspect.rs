//! `opp2p inspect`: checks one captured message against every rule.

use super::chain::ChainArgs;
use super::failure::readable;
use super::{Failure, NO, address, answer, flags, remark};
use alloy_primitives::{Address, hex};
use opp2p_core::gossip::{
    Acceptance, Inspection, Reason, Rules, Signers, inspect, version_of_topic,
};
use opp2p_core::payload::{Block, PayloadVersion};
use opp2p_node::clock::since_epoch;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Maximum size of a message's file in bytes. No message can be larger; hexadecimal text takes
/// twice as much, plus line breaks.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "Without --network and --rollup.config, the chain is OP Mainnet.\n\
    Exit code: 0 accept, 1 ignore or reject, 2 unusable arguments or file.")]
pub(super) struct Args {
    /// Topic that the message was captured on: v1, v2, v3, v4, or the topic's full name.
    #[arg(long)]
    topic: String,
    /// Judge as of this moment, in Unix seconds [default: now].
    #[arg(long, value_name = "UNIX", value_parser = moment)]
    now: Option<u64>,
    /// Unsafe-block signer's address, in place of the chain configuration's.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    signer: Option<Address>,
    /// The file holds hexadecimal text rather than bytes.
    #[arg(long)]
    hex: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// File with the message's data field, or - for standard input.
    file: PathBuf,
    // Last, since its heading would apply to the flags after it.
    #[command(flatten)]
    chain: ChainArgs,
}

fn moment(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "give a whole number of seconds since 1970".into())
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // A captured message does not name its chain; the largest one is the likeliest.
    let chain =
        args.chain.load(Some("op-mainnet"), &|text| remark(format_args!("warning: {text}")))?;
    let version = topic(&args.topic, chain.chain_id)?;
    let data = read(&args.file, args.hex)?;
    let now = match args.now {
        Some(now) => now,
        None => since_epoch().as_secs(),
    };
    let current = args.signer.or(chain.unsafe_block_signer).filter(|signer| !signer.is_zero());
    let rules = Rules::new(&chain, Signers { current, previous: None });
    let inspection = inspect(&rules, version, &data, now);
    if args.json {
        answer(serde_json::to_string(&inspection)?)?;
    } else {
        answer(text(&inspection))?;
        if let Some(hint) = hint(&inspection, current, now) {
            answer(hint)?;
        }
    }
    Ok(ExitCode::from(if inspection.acceptance() == Acceptance::Accept { 0 } else { NO }))
}

fn topic(text: &str, chain_id: u64) -> Result<PayloadVersion, Failure> {
    let short = PayloadVersion::ALL
        .into_iter()
        .find(|version| version.to_string().eq_ignore_ascii_case(text));
    short.or_else(|| version_of_topic(chain_id, text)).ok_or_else(|| {
        Failure::new(format!("{text:?} is not a topic of chain {chain_id}: use v1, v2, v3 or v4"))
    })
}

fn read(path: &Path, is_hex: bool) -> Result<Vec<u8>, Failure> {
    let shown =
        if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let unreadable = |error: std::io::Error| {
        Failure::new(format!(
            "can't read the message from {shown}: {error}; give a file {}",
            readable(&error)
        ))
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
    };
    read.map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::new(format!(
            "{shown} has more than 64 MiB, and no gossip message has; give the file of one message"
        )));
    }
    if !is_hex {
        return Ok(bytes);
    }
    bytes.retain(|byte| !byte.is_ascii_whitespace());
    let digits = bytes.strip_prefix(b"0x").unwrap_or(&bytes);
    hex::decode(digits).map_err(|error| {
        Failure::new(format!(
            "{shown} is not hexadecimal text ({error}); leave out --hex if it holds bytes"
        ))
    })
}

/// Formats the inspection for people.
fn text(inspection: &Inspection) -> String {
    fn or_unknown(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "unknown".into(), |value| value.to_string())
    }
    let verdict = match inspection.reason {
        None => "accept".into(),
        Some(reason) => format!("{}: {reason} ({})", reason.acceptance(), reason.name()),
    };
    let block = inspection.block.as_ref();
    let transactions = block.map(|block| block.payload().transaction_count());
    let mut lines = vec![verdict];
    if let Some(breach) = inspection.breach {
        lines.extend([
            format!("rule          {}: {breach}", breach.rule),
            format!("schedule      {}", breach.schedule_says()),
            format!("remedy        {}{}", breach.remedy(), flags::of_fork(breach.fork)),
        ]);
    }
    let unpacked = inspection.payload_bytes.map(|bytes| format!("{bytes} bytes"));
    lines.extend([
        format!("topic         {}", inspection.topic),
        format!("message id    {}", hex::encode(inspection.message_id)),
        format!("block         {}", or_unknown(block.map(Block::number))),
        format!("hash          {}", or_unknown(block.map(Block::hash))),
        format!("parent        {}", or_unknown(block.map(Block::parent_hash))),
        format!("timestamp     {}", or_unknown(block.map(timestamp))),
        format!("transactions  {}", or_unknown(transactions)),
        format!("signer        {}", or_unknown(inspection.signer)),
        format!(
            "size          {} bytes compressed, payload {}",
            inspection.compressed_bytes,
            or_unknown(unpacked)
        ),
    ]);
    lines.join("\n")
}

/// Formats the header's seconds, with the milliseconds if the block has them.
fn timestamp(block: &Block) -> String {
    match block.base_time() {
        Some(time) => format!("{}.{:03}", block.timestamp(), time.millis),
        None => block.timestamp().to_string(),
    }
}

/// Returns a hint if the verdict depends on a missing setting.
fn hint(inspection: &Inspection, signer: Option<Address>, now: u64) -> Option<String> {
    let timestamp = inspection.block.as_ref().map(Block::timestamp);
    match inspection.reason? {
        Reason::NoSigner => Some("hint: --signer ADDR names the unsafe block signer".into()),
        Reason::WrongSigner => {
            let signer = signer?;
            Some(format!(
                "hint: the signer should be {signer}; --network names another chain, --signer \
                 another signer"
            ))
        }
        Reason::TooOld | Reason::TooNew => {
            let timestamp = timestamp?;
            Some(format!(
                "hint: judged as of {now}; --now {timestamp} judges it as of its own time"
            ))
        }
        _ => None,
    }
}
