//! Selection, order and results of the steps.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::shell::Shell;

/// One step of the tests.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its name on the command line and in the summary.
    pub(crate) name: &'static str,
    /// A description in a few words.
    pub(crate) what: &'static str,
    /// Names of earlier steps that have to pass first.
    pub(crate) needs: &'static [&'static str],
    /// Runs it. `Ok` carries a note for the summary, or the text of [`left_out`]; `Err` the reason.
    pub(crate) run: fn(&Shell) -> Result<String, String>,
    /// Whether a failed step runs a second time.
    has_second_attempt: bool,
    /// Whether it runs only if a word is its full name.
    is_only_if_named: bool,
}

impl Step {
    /// A step that always runs, once.
    pub(crate) const fn new(
        name: &'static str,
        what: &'static str,
        needs: &'static [&'static str],
        run: fn(&Shell) -> Result<String, String>,
    ) -> Self {
        Self { name, what, needs, run, has_second_attempt: false, is_only_if_named: false }
    }

    /// For a step that downloads, or drives a browser or many processes against time. On a busy
    /// machine or line it can fail by accident, so it has a second attempt, which the summary
    /// reports. The steps that run `cargo test` repeat single tests instead.
    pub(crate) const fn twice(self) -> Self {
        Self { has_second_attempt: true, ..self }
    }

    /// For a step that measures or takes very long. It runs only if a word is its full name.
    pub(crate) const fn only_if_named(self) -> Self {
        Self { is_only_if_named: true, ..self }
    }
}

/// Beginning of the note of a step that did nothing.
const LEFT_OUT: &str = "left out: ";

/// Returns the note of a step that can't run on this machine, which is no fault of the project. The
/// summary counts it apart from the steps that passed.
pub(crate) fn left_out(reason: impl std::fmt::Display) -> String {
    format!("{LEFT_OUT}{reason}")
}

/// Outcome of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It passed, with a note (may be empty).
    Passed(String),
    /// It can't run on this machine, for this reason. The steps that need it decide for themselves.
    LeftOut(String),
    /// It failed, for this reason.
    Failed(String),
    /// It did not run because this step, which it needs, did not pass. Counts as failed.
    Lacking(&'static str),
}

/// A selected step with its outcome.
#[derive(Debug)]
pub(crate) struct Done {
    /// The step's name.
    pub(crate) name: &'static str,
    /// Its outcome.
    pub(crate) outcome: Outcome,
    /// Time that it took.
    pub(crate) took: Duration,
}

impl Outcome {
    fn of(note: String) -> Self {
        match note.strip_prefix(LEFT_OUT) {
            Some(reason) => Self::LeftOut(reason.to_owned()),
            None => Self::Passed(note),
        }
    }

    /// Returns `true` unless the step failed, or a step that it needs.
    pub(crate) const fn is_good(&self) -> bool {
        matches!(self, Self::Passed(_) | Self::LeftOut(_))
    }
}

/// Returns the steps selected by the words and all steps that they need, in order. A word that is a
/// step's name selects that step alone; any other word selects the steps whose names contain it. No
/// words select all steps. Of the steps that run only if they are named, only full names select.
/// An error is a word that no name contains.
pub(crate) fn select<'a>(steps: &'a [Step], words: &[String]) -> Result<Vec<&'a Step>, String> {
    if let Some(word) =
        words.iter().find(|word| !steps.iter().any(|step| step.name.contains(word.as_str())))
    {
        return Err(word.clone());
    }
    let mut wanted: Vec<&'static str> = Vec::new();
    let is_meant = |name: &str, word: &String| match steps.iter().any(|step| step.name == word) {
        true => name == word,
        false => name.contains(word.as_str()),
    };
    // From the last to the first, so that a needed step is marked before it is visited.
    for step in steps.iter().rev() {
        let is_named = words.iter().any(|word| word == step.name);
        let is_selected = words.is_empty() || words.iter().any(|word| is_meant(step.name, word));
        if is_named || (is_selected && !step.is_only_if_named) || wanted.contains(&step.name) {
            wanted.push(step.name);
            wanted.extend(step.needs);
        }
    }
    Ok(steps.iter().filter(|step| wanted.contains(&step.name)).collect())
}

/// Runs the steps one after another, with a heading before each and its result after it.
pub(crate) fn run(
    steps: &[&Step],
    mut act: impl FnMut(&Step) -> Result<String, String>,
) -> Vec<Done> {
    let mut results: Vec<Done> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        println!("\n==> {}/{} {}: {}", at + 1, steps.len(), step.name, step.what);
        let passed =
            |need: &str| results.iter().any(|done| done.name == need && done.outcome.is_good());
        let started = Instant::now();
        let outcome = match step.needs.iter().find(|need| !passed(need)) {
            Some(need) => Outcome::Lacking(need),
            None => match act(step) {
                Ok(note) => Outcome::of(note),
                Err(reason) if step.has_second_attempt => {
                    println!("{} failed: {reason}\nA second attempt:", step.name);
                    match act(step) {
                        Ok(note) => Outcome::Passed(second(&note, &reason)),
                        Err(reason) => Outcome::Failed(reason),
                    }
                }
                Err(reason) => Outcome::Failed(reason),
            },
        };
        let done = Done { name: step.name, outcome, took: started.elapsed() };
        println!("<== {}: {}", done.name, result_of(&done));
        results.push(done);
    }
    results
}

/// Returns the note of a step that passed at its second attempt.
fn second(note: &str, reason: &str) -> String {
    let reason = format!("at the second attempt only; at first {reason}");
    if note.is_empty() { reason } else { format!("{note}; {reason}") }
}

fn result_of(done: &Done) -> String {
    let took = in_words(done.took);
    match &done.outcome {
        Outcome::Passed(note) if note.is_empty() => format!("passed in {took}"),
        Outcome::Passed(note) => format!("passed in {took}: {note}"),
        Outcome::LeftOut(reason) => format!("{LEFT_OUT}{reason}"),
        Outcome::Failed(reason) => format!("FAILED after {took}: {reason}"),
        Outcome::Lacking(need) => format!("FAILED: not run, since it needs {need}"),
    }
}

/// Returns the final table. Its last line counts: `9 passed, 1 left out, 1 failed`.
pub(crate) fn summary(results: &[Done]) -> String {
    let mut text = String::from("\n==> Summary\n");
    let width = results.iter().map(|done| done.name.len()).max().unwrap_or(0);
    for done in results {
        let _ = writeln!(text, "{:width$}  {}", done.name, result_of(done));
    }
    let took = results.iter().map(|done| done.took).sum();
    let _ = writeln!(text, "{:width$}  {}", "together", in_words(took));
    let count = |is: fn(&Outcome) -> bool| results.iter().filter(|done| is(&done.outcome)).count();
    let _ = writeln!(
        text,
        "\n{} passed, {} left out, {} failed",
        count(|outcome| matches!(outcome, Outcome::Passed(_))),
        count(|outcome| matches!(outcome, Outcome::LeftOut(_))),
        count(|outcome| !outcome.is_good())
    );
    text
}

/// Returns a line for each step: its name, its description, the steps that it needs.
pub(crate) fn list(steps: &[Step]) -> String {
    let mut text = String::new();
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    for step in steps {
        let needs = if step.needs.is_empty() {
            String::new()
        } else {
            format!(" [after {}]", step.needs.join(", "))
        };
        let when = if step.is_only_if_named { " (runs only if named)" } else { "" };
        let _ = writeln!(text, "{:width$}  {}{when}{needs}", step.name, step.what);
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
        Step::new(name, "does it", needs, |_| Ok(String::new()))
    }

    const STEPS: &[Step] =
        &[step("base", &[]), step("build", &["base"]), step("run", &["build"]), step("other", &[])];

    fn names(words: &[&str]) -> Result<Vec<&'static str>, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        Ok(select(STEPS, &words)?.iter().map(|step| step.name).collect())
    }

    fn outcomes(failing: &str) -> Vec<Done> {
        let all: Vec<&Step> = STEPS.iter().collect();
        run(&all, |step| {
            if step.name == failing { Err("it broke".to_owned()) } else { Ok("fine".to_owned()) }
        })
    }

    #[test]
    fn without_arguments_every_step_runs() {
        assert_eq!(names(&[]).expect("all"), ["base", "build", "run", "other"]);
    }

    #[test]
    fn a_word_selects_its_steps_with_their_dependencies_in_order() {
        assert_eq!(names(&["run"]).expect("known"), ["base", "build", "run"]);
        assert_eq!(names(&["oth", "buil"]).expect("known"), ["base", "build", "other"]);
    }

    #[test]
    fn a_word_that_equals_a_name_selects_only_that_step() {
        let steps = [step("soak", &[]), step("soak-ours", &[]), step("interop-soak", &[])];
        let names = |word: &str| {
            let steps = select(&steps, &[word.to_owned()]).expect("known");
            steps.iter().map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!(names("soak"), ["soak"]);
        assert_eq!(names("oak"), ["soak", "soak-ours", "interop-soak"]);
    }

    #[test]
    fn an_unknown_word_is_returned() {
        assert_eq!(names(&["run", "typo"]), Err("typo".to_owned()));
    }

    #[test]
    fn a_failure_stops_only_dependent_steps() {
        let results: Vec<Outcome> = outcomes("base").into_iter().map(|done| done.outcome).collect();
        let fine = Outcome::Passed("fine".to_owned());
        let broke = Outcome::Failed("it broke".to_owned());
        assert_eq!(results, [broke, Outcome::Lacking("base"), Outcome::Lacking("build"), fine]);
    }

    #[test]
    fn a_second_attempt_counts_and_is_reported() {
        let once = step("download", &[]);
        let mut attempts = 0;
        let mut results = |step: Step, good: u32| {
            attempts = 0;
            let results = run(&[&step], |_| {
                attempts += 1;
                if attempts == good { Ok("here".to_owned()) } else { Err("it broke".to_owned()) }
            });
            (summary(&results), attempts)
        };
        let (text, attempts) = results(step("download", &[]).twice(), 2);
        assert!(text.contains("here; at the second attempt only; at first it broke"), "{text}");
        assert!(text.ends_with("1 passed, 0 left out, 0 failed\n") && attempts == 2, "{text}");
        assert_eq!(results(step("download", &[]).twice(), 3).1, 2);
        assert_eq!(results(once, 2).1, 1);
    }

    #[test]
    fn a_part_of_a_name_does_not_select_a_step_that_has_to_be_named() {
        let steps = [step("fuzz", &[]), step("fuzz-hours", &[]).only_if_named()];
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let steps = select(&steps, &words).expect("known");
            steps.iter().map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["fuzz"]);
        assert_eq!(names(&["fu"]), ["fuzz"]);
        assert_eq!(names(&["fuzz-hours"]), ["fuzz-hours"]);
        assert!(list(&steps).contains("fuzz-hours  does it (runs only if named)\n"));
    }

    #[test]
    fn the_last_line_counts_steps_that_did_not_run_as_failed() {
        let last = |failing| summary(&outcomes(failing)).lines().last().map(str::to_owned);
        assert_eq!(last("base").as_deref(), Some("1 passed, 0 left out, 3 failed"));
        assert_eq!(last("other").as_deref(), Some("3 passed, 0 left out, 1 failed"));
        assert_eq!(last("").as_deref(), Some("4 passed, 0 left out, 0 failed"));
        assert!(summary(&outcomes("base")).contains("it broke"));
    }

    #[test]
    fn a_left_out_step_is_counted_separately_and_stops_no_other() {
        let all: Vec<&Step> = STEPS.iter().collect();
        let act = |step: &Step| match step.name {
            "build" => Ok(left_out("there is no compiler")),
            _ => Ok(String::new()),
        };
        let results = run(&all, act);
        assert!(results.iter().all(|done| done.outcome.is_good()));
        let text = summary(&results);
        assert!(text.contains("build  left out: there is no compiler\n"), "{text}");
        assert!(text.ends_with("3 passed, 1 left out, 0 failed\n"), "{text}");
    }

    #[test]
    fn times_are_readable() {
        let words =
            [Duration::from_millis(340), Duration::from_millis(12_340), Duration::from_secs(245)]
                .map(in_words);
        assert_eq!(words, ["340 ms", "12.3 s", "4 min 05 s"]);
    }
}
