//! Figures for `tests/REPORT.md`: results of a measurement or a test, beside the bound or goal they
//! are held to.
//!
//! A measurement makes a [`Section`] and [reports](Section::tell) it. The section is printed, and
//! also written to a file if the environment names a folder. `cargo all-tests -- report` names one,
//! and combines all sections into the report.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Environment variable that names the folder of the sections.
pub const FOLDER: &str = "OPP2P_REPORT";

/// Results of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name of its file, in lower case. The report orders its sections by name.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// The command that reproduces it.
    pub command: String,
    /// The method, maybe in several paragraphs of Markdown.
    pub about: String,
    /// The results.
    pub rows: Vec<Row>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The measured quantity.
    pub what: String,
    /// The value, with its unit.
    pub measured: String,
    /// The bound, with its unit, and whether it is met. `None` for a purely informative figure.
    pub bound: Option<(String, bool)>,
    /// Reason for a miss, or another remark. Mostly empty.
    pub note: String,
}

impl Row {
    /// Creates a figure without a bound.
    pub fn new(what: impl Into<String>, measured: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), bound: None, note: String::new() }
    }

    /// Adds a bound.
    #[must_use]
    pub fn held_to(self, bound: impl Into<String>, is_met: bool) -> Self {
        Self { bound: Some((bound.into(), is_met)), ..self }
    }

    /// Adds a note.
    #[must_use]
    pub fn noted(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

impl Section {
    /// Prints the section, and writes it to a file if the environment names a folder.
    ///
    /// # Errors
    /// If the folder can't be written to.
    pub fn tell(&self) -> io::Result<()> {
        println!("\n{}", self.to_markdown());
        match env::var_os(FOLDER) {
            Some(folder) => self.keep(&PathBuf::from(folder)),
            None => Ok(()),
        }
    }

    /// Writes the section into `folder`, which is created if needed.
    ///
    /// # Errors
    /// If the folder can't be written to.
    pub fn keep(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{}.json", self.name)), self.to_json().to_string())
    }

    /// Returns the sections in `folder`, by name.
    ///
    /// # Errors
    /// If the folder can't be read, or holds something else.
    pub fn kept(folder: &Path) -> io::Result<Vec<Self>> {
        let mut files = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        let read = |path: &PathBuf| {
            let value: Value = serde_json::from_slice(&fs::read(path)?)?;
            Self::from_json(&value).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} is not a section", path.display()),
                )
            })
        };
        files.iter().map(read).collect()
    }

    /// Returns the section as Markdown for the report.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("## {}\n\n`{}`\n", self.title, self.command);
        if !self.about.is_empty() {
            let _ = write!(text, "\n{}\n", self.about);
        }
        if self.rows.is_empty() {
            return text;
        }
        text.push_str("\n| | measured | bound | |\n|---|---:|---:|---|\n");
        for row in &self.rows {
            let (bound, mark) = match &row.bound {
                Some((bound, true)) => (bound.as_str(), "kept"),
                Some((bound, false)) => (bound.as_str(), "**missed**"),
                None => ("", ""),
            };
            let gap = if mark.is_empty() || row.note.is_empty() { "" } else { ": " };
            let _ = writeln!(
                text,
                "| {} | {} | {bound} | {mark}{gap}{} |",
                row.what, row.measured, row.note
            );
        }
        text
    }

    fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let (bound, met) = row.bound.clone().unzip();
                json!({ "what": row.what, "measured": row.measured, "bound": bound, "met": met,
                    "note": row.note })
            })
            .collect();
        json!({
            "name": self.name, "title": self.title, "command": self.command, "about": self.about,
            "rows": rows,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
        let row = |row: &Value| {
            Some(Row {
                what: text(row, "what")?,
                measured: text(row, "measured")?,
                bound: text(row, "bound").zip(row["met"].as_bool()),
                note: text(row, "note")?,
            })
        };
        Some(Self {
            name: text(value, "name")?,
            title: text(value, "title")?,
            command: text(value, "command")?,
            about: text(value, "about")?,
            rows: value["rows"].as_array()?.iter().map(row).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        Section {
            name: "cost".to_owned(),
            title: "Cost".to_owned(),
            command: "cargo all-tests -- cost".to_owned(),
            about: "Of an idle node.".to_owned(),
            rows: vec![
                Row::new("Processor", "0.1 %"),
                Row::new("Memory", "9 MB").held_to("20 MB", true),
                Row::new("Delay", "9 ms").held_to("8 ms", false).noted("the disk"),
            ],
        }
    }

    #[test]
    fn a_section_renders_as_markdown() {
        let text = section().to_markdown();
        assert!(
            text.starts_with("## Cost\n\n`cargo all-tests -- cost`\n\nOf an idle node.\n\n| |"),
            "{text}"
        );
        assert!(text.contains("| Processor | 0.1 % |  |  |\n"), "{text}");
        assert!(text.contains("| Memory | 9 MB | 20 MB | kept |\n"), "{text}");
        assert!(text.ends_with("| Delay | 9 ms | 8 ms | **missed**: the disk |\n"), "{text}");
    }

    #[test]
    fn kept_sections_are_found_in_order() {
        let folder = env::temp_dir().join(format!("opp2p-report-{}", std::process::id()));
        let earlier = Section { name: "attack".to_owned(), ..section() };
        for section in [&section(), &earlier] {
            section.keep(&folder).expect("the folder is ours");
        }
        let found = Section::kept(&folder);
        fs::write(folder.join("other.json"), "{}").expect("the folder is ours");
        let other = Section::kept(&folder);
        fs::remove_dir_all(&folder).expect("the folder is ours");
        assert_eq!(found.expect("both are whole"), [earlier, section()]);
        assert!(other.expect_err("no section").to_string().contains("other.json"));
    }
}
