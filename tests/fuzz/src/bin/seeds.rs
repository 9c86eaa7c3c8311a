//! Writes the seeds that are made from the fixtures, and picks small inputs from a corpus that the
//! fuzzer found.
//!
//! `opp2p-fuzz-seeds FOLDER` writes into `FOLDER/TARGET/made-…`. `opp2p-fuzz-seeds FOLDER CORPUS
//! BYTES` also copies a few inputs of `CORPUS/TARGET` there, as `found-…`, spread over their sizes,
//! at most this many bytes per target.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use opp2p_fuzz::TARGETS;

/// Maximum number of inputs that are picked from a corpus for one target.
const PICKS: usize = 24;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [folder] => make(Path::new(folder)),
        [folder, corpus, bytes] if bytes.parse::<usize>().is_ok() => {
            let room = bytes.parse().unwrap_or_default();
            make(Path::new(folder)).and_then(|()| pick(Path::new(folder), Path::new(corpus), room))
        }
        _ => {
            eprintln!("opp2p-fuzz-seeds FOLDER [CORPUS BYTES]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    for target in TARGETS {
        let folder = emptied(&folder.join(target.name), "made-")?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("made-{number:02}")), seed)?;
        }
    }
    Ok(())
}

fn pick(folder: &Path, corpus: &Path, room: usize) -> io::Result<()> {
    for target in TARGETS {
        let folder = emptied(&folder.join(target.name), "found-")?;
        let corpus = corpus.join(target.name);
        if !corpus.is_dir() {
            continue;
        }
        let mut inputs = Vec::new();
        for entry in fs::read_dir(corpus)? {
            let input = fs::read(entry?.path())?;
            if !input.is_empty() && input.len() <= room {
                inputs.push(input);
            }
        }
        inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
        let mut rest = room;
        let mut number = 0_usize;
        // Evenly spread over the sizes: small inputs are good starting points, and long ones reach
        // deep states.
        for at in spread(inputs.len()) {
            if number < PICKS && inputs[at].len() <= rest {
                rest -= inputs[at].len();
                fs::write(folder.join(format!("found-{number:02}")), &inputs[at])?;
                number += 1;
            }
        }
    }
    Ok(())
}

/// Returns every index below `length` once: the ends, the middle, the middles of the halves, and so
/// on.
fn spread(length: usize) -> Vec<usize> {
    let mut order = Vec::new();
    let mut taken = vec![false; length];
    let mut parts = 1;
    while order.len() < length {
        for part in 0..=parts {
            let at = (length - 1) * part / parts;
            if !std::mem::replace(&mut taken[at], true) {
                order.push(at);
            }
        }
        parts *= 2;
    }
    order
}

/// Returns the folder, created if needed, without the files whose names begin with `start`.
fn emptied(folder: &Path, start: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(start) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(folder.to_path_buf())
}
