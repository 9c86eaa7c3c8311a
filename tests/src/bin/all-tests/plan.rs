//! Which steps run, in which order, and what came of them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::shell::Shell;

/// One step of the tests.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it is called on the command line and in the summary.
    pub(crate) name: &'static str,
    /// What it does, in a few words.
    pub(crate) what: &'static str,
    /// Names of earlier steps without which it cannot pass.
    pub(crate) needs: &'static [&'static str],
    /// Does it. `Ok` carries a note for the summary, `Err` the reason.
    pub(crate) run: fn(&Shell) -> Result<String, String>,
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It passed, with a note (maybe empty).
    Passed(String),
    /// It failed, for this reason.
    Failed(String),
    /// It could not run since this step, which it needs, did not pass. Counts as failed.
    Lacking(&'static str),
}

/// A step that was to run.
#[derive(Debug)]
pub(crate) struct Done {
    /// The step's name.
    pub(crate) name: &'static str,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// How long it took.
    pub(crate) took: Duration,
}

/// The steps whose names are or contain one of the words, with all that they need, in order. A word that is a name means that
/// step alone. All of them for no words. An
/// error is a word that no name contains.
pub(crate) fn select<'a>(steps: &'a [Step], words: &[String]) -> Result<Vec<&'a Step>, String> {
    if let Some(word) = words.iter().find(|word| !steps.iter().any(|step| step.name.contains(word.as_str())))
    {
        return Err(word.clone());
    }
    let mut wanted: Vec<&'static str> = Vec::new();
    let is_meant = |name: &str, word: &String| match steps.iter().any(|step| step.name == word) {
        true => name == word,
        false => name.contains(word.as_str()),
    };
    // From the last to the first, so that a need is wanted before its own turn comes.
    for step in steps.iter().rev() {
        let named = words.is_empty() || words.iter().any(|word| is_meant(step.name, word));
        if named || wanted.contains(&step.name) {
            wanted.push(step.name);
            wanted.extend(step.needs);
        }
    }
    Ok(steps.iter().filter(|step| wanted.contains(&step.name)).collect())
}

/// Runs the steps one after another, with a heading before each and its result after it.
pub(crate) fn run(steps: &[&Step], mut act: impl FnMut(&Step) -> Result<String, String>) -> Vec<Done> {
    let mut results: Vec<Done> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        println!("\n==> {}/{} {}: {}", at + 1, steps.len(), step.name, step.what);
        let passed = |need: &str| {
            results.iter().any(|done| done.name == need && matches!(done.outcome, Outcome::Passed(_)))
        };
        let started = Instant::now();
        let outcome = match step.needs.iter().find(|need| !passed(need)) {
            Some(need) => Outcome::Lacking(need),
            None => match act(step) {
                Ok(note) => Outcome::Passed(note),
                Err(reason) => Outcome::Failed(reason),
            },
        };
        let done = Done { name: step.name, outcome, took: started.elapsed() };
        println!("<== {}: {}", done.name, result_of(&done));
        results.push(done);
    }
    results
}

fn result_of(done: &Done) -> String {
    let took = in_words(done.took);
    match &done.outcome {
        Outcome::Passed(note) if note.is_empty() => format!("passed in {took}"),
        Outcome::Passed(note) => format!("passed in {took}: {note}"),
        Outcome::Failed(reason) => format!("FAILED after {took}: {reason}"),
        Outcome::Lacking(need) => format!("FAILED: not run, since it needs {need}"),
    }
}

/// The table at the end. Its last line counts: `9 passed, 1 failed`.
pub(crate) fn summary(results: &[Done]) -> String {
    let mut text = String::from("\n==> Summary\n");
    let width = results.iter().map(|done| done.name.len()).max().unwrap_or(0);
    for done in results {
        let _ = writeln!(text, "{:width$}  {}", done.name, result_of(done));
    }
    let passed = results.iter().filter(|done| matches!(done.outcome, Outcome::Passed(_))).count();
    let took = results.iter().map(|done| done.took).sum();
    let _ = writeln!(text, "{:width$}  {}", "together", in_words(took));
    let _ = writeln!(text, "\n{passed} passed, {} failed", results.len() - passed);
    text
}

/// A line for each step: its name, what it does, what it needs.
pub(crate) fn list(steps: &[Step]) -> String {
    let mut text = String::new();
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    for step in steps {
        let needs =
            if step.needs.is_empty() { String::new() } else { format!(" [after {}]", step.needs.join(", ")) };
        let _ = writeln!(text, "{:width$}  {}{needs}", step.name, step.what);
    }
    text
}

/// `340 ms`, `12.3 s` or `4 min 05 s`.
fn in_words(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds >= 60 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else if seconds >= 1 {
        format!("{seconds}.{} s", took.subsec_millis() / 100)
    } else {
        format!("{} ms", took.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(name: &'static str, needs: &'static [&'static str]) -> Step {
        Step { name, what: "does it", needs, run: |_| Ok(String::new()) }
    }

    const STEPS: &[Step] =
        &[step("base", &[]), step("build", &["base"]), step("run", &["build"]), step("other", &[])];

    fn names(words: &[&str]) -> Result<Vec<&'static str>, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Ok(select(STEPS, &words)?.iter().map(|step| step.name).collect())
    }

    fn outcomes(failing: &str) -> Vec<Done> {
        let all: Vec<&Step> = STEPS.iter().collect();
        run(
            &all,
            |step| if step.name == failing { Err("it broke".to_owned()) } else { Ok("fine".to_owned()) },
        )
    }

    #[test]
    fn without_words_every_step_runs() {
        assert_eq!(names(&[]).expect("all"), ["base", "build", "run", "other"]);
    }

    #[test]
    fn a_word_brings_what_its_steps_need_in_order() {
        assert_eq!(names(&["run"]).expect("known"), ["base", "build", "run"]);
        assert_eq!(names(&["oth", "buil"]).expect("known"), ["base", "build", "other"]);
    }

    #[test]
    fn a_word_that_is_a_name_means_that_step_alone() {
        let steps = [step("soak", &[]), step("soak-ours", &[]), step("interop-soak", &[])];
        let names = |word: &str| {
            let steps = select(&steps, &[word.to_owned()]).expect("known");
            steps.iter().map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!(names("soak"), ["soak"]);
        assert_eq!(names("oak"), ["soak", "soak-ours", "interop-soak"]);
    }

    #[test]
    fn a_word_that_names_no_step_is_given_back() {
        assert_eq!(names(&["run", "typo"]), Err("typo".to_owned()));
    }

    #[test]
    fn a_failure_stops_what_needs_it_and_nothing_else() {
        let results: Vec<Outcome> = outcomes("base").into_iter().map(|done| done.outcome).collect();
        let fine = Outcome::Passed("fine".to_owned());
        let broke = Outcome::Failed("it broke".to_owned());
        assert_eq!(results, [broke, Outcome::Lacking("base"), Outcome::Lacking("build"), fine]);
    }

    #[test]
    fn the_last_line_counts_and_what_did_not_run_counts_as_failed() {
        let last = |failing| summary(&outcomes(failing)).lines().last().map(str::to_owned);
        assert_eq!(last("base").as_deref(), Some("1 passed, 3 failed"));
        assert_eq!(last("other").as_deref(), Some("3 passed, 1 failed"));
        assert_eq!(last("").as_deref(), Some("4 passed, 0 failed"));
        assert!(summary(&outcomes("base")).contains("it broke"));
    }

    #[test]
    fn times_read_well() {
        let words = [Duration::from_millis(340), Duration::from_millis(12_340), Duration::from_secs(245)]
            .map(in_words);
        assert_eq!(words, ["340 ms", "12.3 s", "4 min 05 s"]);
    }
}
