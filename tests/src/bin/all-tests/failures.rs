//! Finds the failed tests in the output of `cargo test`.
//!
//! The output of a whole run has thousands of lines, and a log may keep only its end. So the
//! summary repeats the name of each failed test, and the beginning of its output.
//!
//! # Bounds
//! Holds the name of each failed test, and [`LINES`] lines of output for [`TESTS`] of them.

/// Maximum number of tests in the summary.
const TESTS: usize = 12;
/// Maximum number of lines from the output of one test.
const LINES: usize = 12;

/// The failed tests of one run of `cargo test`.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    names: Vec<String>,
    outputs: Vec<(String, Vec<String>)>,
    /// Whether the next lines are the output of the last entry of `outputs`.
    is_within: bool,
    /// Number of test programs that began, and that reported a result.
    begun: usize,
    ended: usize,
}

impl Failures {
    /// Reads the next line of the output.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        self.begun += usize::from(line.starts_with("running ") && line.contains(" test"));
        self.ended += usize::from(line.starts_with("test result:"));
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" FAILED"))
        {
            let name = name.strip_suffix(" ...").unwrap_or(name).trim();
            self.names.push(name.to_owned());
        } else if let Some(name) = heading(line) {
            self.is_within = self.outputs.len() < TESTS;
            if self.is_within {
                self.outputs.push((name.to_owned(), Vec::new()));
            }
        } else if line == "failures:" || line.starts_with("test result:") {
            self.is_within = false;
        } else if self.is_within
            && !line.is_empty()
            && let Some((_, lines)) = self.outputs.last_mut()
            && lines.len() < LINES
        {
            lines.push(line.to_owned());
        }
    }

    /// Returns the names of the failed tests, in the order of the output.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns whether every test program ran to its end. If not, more may have failed than the
    /// tests with a name.
    pub(crate) fn is_complete(&self) -> bool {
        self.begun == self.ended
    }

    /// Returns the names, and below them the beginning of each test's output; empty without a
    /// failed test.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let shown = self.names.iter().take(TESTS);
        for name in shown {
            text.push_str(&format!("\n    {name}"));
            let output = self.outputs.iter().find(|(of, _)| of == name);
            for line in output.into_iter().flat_map(|(_, lines)| lines) {
                text.push_str(&format!("\n        {line}"));
            }
        }
        if let Some(more) = self.names.len().checked_sub(TESTS).filter(|more| *more > 0) {
            text.push_str(&format!("\n    and {more} more"));
        }
        text
    }
}

/// Returns the test of a line that reports a success: `test NAME ... ok`.
pub(crate) fn passed(line: &str) -> Option<&str> {
    let name = line.trim_end().strip_prefix("test ")?.strip_suffix(" ok")?;
    Some(name.strip_suffix(" ...").unwrap_or(name).trim())
}

/// Returns the test of the heading of a failed test's output: `---- name stdout ----` of the
/// standard harness, `---- name ----` of libtest-mimic.
fn heading(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(output: &str) -> String {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        failures.to_text()
    }

    #[test]
    fn failed_tests_are_listed_with_their_output() {
        let output = "running 3 tests\ntest a::good ... ok\ntest a::bad ... FAILED\n\
            test sim::x          ... FAILED\n\nfailures:\n\n---- a::bad stdout ----\n\n\
            thread 'a::bad' panicked at core/src/a.rs:1:2:\nleft: 1\n\n---- sim::x ----\nseed 7\n\n\
            failures:\n    a::bad\n    sim::x\n\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored\n\nDoc-tests opp2p\n";
        assert_eq!(
            text_of(output),
            "\n    a::bad\n        thread 'a::bad' panicked at core/src/a.rs:1:2:\n        left: 1\
             \n    sim::x\n        seed 7"
        );
    }

    #[test]
    fn a_passed_test_is_read_from_its_line() {
        assert_eq!(passed("test a::good ... ok\n"), Some("a::good"));
        assert_eq!(passed("test sim::x          ... ok"), Some("sim::x"));
        assert_eq!(passed("test a::bad ... FAILED"), None);
        assert_eq!(passed("test result: ok. 2 passed"), None);
    }

    #[test]
    fn without_a_failed_test_the_text_is_empty() {
        assert_eq!(text_of("test a ... ok\ntest b ... ignored\ntest result: ok. 2 passed\n"), "");
    }

    #[test]
    fn a_crashed_program_has_no_result() {
        let mut failures = Failures::default();
        for line in ["running 1 test", "test a ... ok", "test result: ok. 1 passed"] {
            failures.read(line);
        }
        assert!(failures.is_complete());
        failures.read("running 2 tests");
        assert!(!failures.is_complete());
    }

    #[test]
    fn many_failures_are_counted_and_long_output_is_cut() {
        let mut output = String::new();
        for at in 0..TESTS + 3 {
            output.push_str(&format!("test t{at} ... FAILED\n"));
        }
        output.push_str("failures:\n---- t0 stdout ----\n");
        output.push_str(&"line\n".repeat(1000));
        let text = text_of(&output);
        assert_eq!(text.lines().count(), 1 + TESTS + LINES + 1);
        assert!(text.ends_with("and 3 more"), "{text}");
    }
}
