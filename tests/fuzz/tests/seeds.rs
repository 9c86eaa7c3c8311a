//! Replays every seed and every finding through its target, so that findings stay fixed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use opp2p_fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the files of a target's folder, by name; empty if the folder does not exist.
fn inputs(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    if !folder.exists() {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it is there").path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).expect("a file of the repository")))
        .collect()
}

#[test]
fn every_seed_and_finding_passes_its_target() {
    for target in TARGETS {
        let seeds = inputs(&folder("seeds").join(target.name));
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (path, input) in seeds.into_iter().chain(inputs(&folder("findings").join(target.name)))
        {
            // Test output, and with it the input's path, is shown only if the target panics.
            println!("{}", path.display());
            (target.run)(&input);
        }
    }
}

#[test]
fn the_seeds_are_those_generated_and_every_folder_has_a_target() {
    for target in TARGETS {
        let kept: Vec<Vec<u8>> = inputs(&folder("seeds").join(target.name))
            .into_iter()
            .filter(|(path, _)| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("made-"))
            })
            .map(|(_, input)| input)
            .collect();
        assert_eq!(
            kept,
            (target.seeds)(),
            "make the seeds of {} again: tests/fuzz/README.md",
            target.name
        );
    }
    for kind in ["seeds", "findings"] {
        let names: BTreeSet<String> = inputs_of_all(kind);
        let known: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
        assert!(names.is_subset(&known), "{kind}: {names:?}");
    }
}

fn inputs_of_all(kind: &str) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder(kind)) else { return BTreeSet::new() };
    entries
        .map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned())
        .collect()
}

/// Pseudo-random bytes, the same in every run: this is all the fuzzing possible without a fuzzer.
#[test]
fn pseudo_random_bytes_pass_every_target() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for target in TARGETS {
        for round in 0..20 {
            let length = next() as usize % target.max_len.min(40 << (round % 5));
            let input: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            println!("{} {input:02x?}", target.name);
            (target.run)(&input);
        }
    }
}
