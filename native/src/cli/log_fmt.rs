//! Log lines of `key=value`, as in the reference's `logfmt`: `t`, `lvl`, `msg`, then the fields.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime as Now};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events in this format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logfmt;

/// Writes events as lines for people, with the target where it matters.
#[derive(Clone, Debug, Default)]
pub(super) struct PlainFormat(Format<Full>);

impl<S, N> FormatEvent<S, N> for PlainFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let format = self.0.clone().with_target(shows_target(event.metadata()));
        format.format_event(context, writer, event)
    }
}

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("t=")?;
        write_time(&mut writer)?;
        write!(writer, " lvl={}", level(*event.metadata().level()))?;
        let mut fields = Fields { message: String::new(), rest: String::new() };
        event.record(&mut fields);
        write!(writer, " msg={}", Value(&fields.message))?;
        if shows_target(event.metadata()) {
            write!(writer, " target={}", event.metadata().target())?;
        }
        writer.write_str(&fields.rest)?;
        writeln!(writer)
    }
}

/// Writes the present time, or its Unix seconds if it can't be formatted.
pub(super) fn write_time(writer: &mut Writer<'_>) -> fmt::Result {
    if Now.format_time(writer).is_err() {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(writer, "{}", since.as_secs())?;
    }
    Ok(())
}

/// Returns `true` if a line shows its target, which levels by module refer to: lines of libraries,
/// and all lines for debugging.
pub(super) fn shows_target(metadata: &Metadata<'_>) -> bool {
    *metadata.level() > Level::INFO || !metadata.target().starts_with("opp2p")
}

/// Returns the reference's name of a level.
pub(super) const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Writes the message and the fields of a line for people, each value as in [`Logfmt`].
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainFields;

impl<'writer> FormatFields<'writer> for PlainFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        record: R,
    ) -> fmt::Result {
        let mut fields = Fields { message: String::new(), rest: String::new() };
        record.record(&mut fields);
        for character in fields.message.chars() {
            match character.is_control() {
                true => write!(writer, "{}", character.escape_default())?,
                false => writer.write_char(character)?,
            }
        }
        writer.write_str(&fields.rest)
    }
}

struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            // Writing to a string can't fail.
            let _ = write!(self.rest, " {}={}", field.name(), Value(value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
}

/// A value, in quotation marks if it would otherwise be ambiguous.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
        if !text.is_empty() && text.chars().all(is_plain) {
            return f.write_str(text);
        }
        f.write_char('"')?;
        for character in text.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                other if other.is_control() => write!(f, "\\u{:04x}", u32::from(other))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_limit::tests::Written;
    use super::*;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn no_value_can_pass_for_another_field_or_line() {
        for (text, expected) in [
            ("10", "10"),
            ("/ip4/1.2.3.4/tcp/9", "/ip4/1.2.3.4/tcp/9"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("x\" lvl=error", "\"x\\\" lvl=error\""),
            ("x\nt=1\u{1b}[31m", "\"x\\nt=1\\u001b[31m\""),
            ("Grüße", "\"Grüße\""),
        ] {
            assert_eq!(Value(text).to_string(), expected);
        }
    }

    #[test]
    fn plain_log_lines_quote_values_and_escape_control_characters() {
        let output = Written::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(output.clone())
            .fmt_fields(PlainFields)
            .event_format(PlainFormat::default());
        with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(
                target: "opp2p::cli", peer = "16U", score = -1.5, chain = %"OP Mainnet",
                address = %"/ip4/1",
                "banned\u{1b}[31m"
            );
            tracing::debug!(target: "opp2p::host", number = 7, "stored");
            tracing::warn!(target: "libp2p_swarm", "garbage");
        });
        let lines = output.lines();
        let ends = [
            " INFO banned\\u{1b}[31m peer=16U score=-1.5 chain=\"OP Mainnet\" address=/ip4/1",
            "DEBUG opp2p::host: stored number=7",
            " WARN libp2p_swarm: garbage",
        ];
        assert_eq!(lines.len(), ends.len(), "{lines:#?}");
        for (line, end) in lines.iter().zip(ends) {
            assert!(line.ends_with(end), "{line:?} does not end in {end:?}");
        }
    }
}
