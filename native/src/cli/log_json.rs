//! Log lines as JSON objects, as in the reference's `json`: `t`, `lvl` and `msg`, then the fields,
//! all at the top level.

use super::log_fmt::{level, shows_target, write_time};
use serde_json::Value;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Names of the first members, which no field can have.
const OWN: [&str; 4] = ["t", "lvl", "msg", "target"];

/// Writes events in this format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json {
    /// Whether each member has a line of its own.
    pub(super) is_pretty: bool,
}

impl<S, N> FormatEvent<S, N> for Json
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
        let mut time = String::new();
        write_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut fields = Fields { message: String::new(), rest: Vec::new() };
        event.record(&mut fields);
        let mut members = vec![
            ("t".to_owned(), Value::from(time)),
            ("lvl".to_owned(), level(*metadata.level()).into()),
            ("msg".to_owned(), fields.message.into()),
        ];
        if shows_target(metadata) {
            members.push(("target".to_owned(), metadata.target().into()));
        }
        members.extend(fields.rest);
        self.write(&mut writer, &members)
    }
}

impl Json {
    fn write(self, writer: &mut Writer<'_>, members: &[(String, Value)]) -> fmt::Result {
        let (begin, joint, colon, end) = match self.is_pretty {
            true => ("{\n  ", ",\n  ", ": ", "\n}\n"),
            false => ("{", ",", ":", "}\n"),
        };
        writer.write_str(begin)?;
        for (number, (name, value)) in members.iter().enumerate() {
            if number > 0 {
                writer.write_str(joint)?;
            }
            write!(writer, "{}{colon}{value}", Value::from(name.as_str()))?;
        }
        writer.write_str(end)
    }
}

/// The members of one event.
struct Fields {
    message: String,
    rest: Vec<(String, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message.push_str(&text),
            ("message", other) => self.message.push_str(&other.to_string()),
            (name, value) => {
                // A second member of one name would hide the first.
                let is_taken =
                    OWN.contains(&name) || self.rest.iter().any(|(other, _)| other == name);
                let name = if is_taken { format!("{name}_") } else { name.to_owned() };
                self.rest.push((name, value));
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        let number = serde_json::Number::from_f64(value);
        self.add(field, number.map_or_else(|| value.to_string().into(), Value::Number));
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_limit::tests::Written;
    use super::*;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn written(is_pretty: bool, log: impl FnOnce()) -> String {
        let output = Written::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(output.clone())
            .event_format(Json { is_pretty });
        with_default(tracing_subscriber::registry().with(layer), log);
        output.lines().join("\n")
    }

    fn log() {
        tracing::info!(
            target: "opp2p::cli", number = 7_u64, score = -0.5, ready = true, t = "x",
            peer = %"a\"b\n",
            nothing = f64::NAN, "one\u{1b}[31m block"
        );
    }

    #[test]
    fn a_json_line_has_the_reference_keys_and_all_fields_at_the_top_level() {
        let text = written(false, log);
        assert!(text.starts_with("{\"t\":\"2") && !text.contains('\n'), "{text}");
        assert!(text.contains("\",\"lvl\":\"info\",\"msg\":\"one\\u001b[31m block\","), "{text}");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&value["number"], &value["score"]), (&7.into(), &(-0.5).into()));
        assert_eq!((&value["ready"], &value["t_"]), (&true.into(), &"x".into()));
        assert_eq!((&value["peer"], &value["nothing"]), (&"a\"b\n".into(), &"NaN".into()));
        assert!(value.get("target").is_none(), "{text}");
    }

    #[test]
    fn pretty_lines_hold_the_same_object() {
        let text = written(true, log);
        assert!(text.contains("\n  \"msg\": "), "{text}");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["number"], 7);
    }

    #[test]
    fn the_module_is_shown_where_levels_by_module_matter() {
        let text = written(false, || {
            tracing::debug!(target: "opp2p::host", "a");
            tracing::warn!(target: "libp2p_swarm", "b");
        });
        assert!(text.contains("\"target\":\"opp2p::host\""), "{text}");
        assert!(text.contains("\"target\":\"libp2p_swarm\""), "{text}");
    }
}
