//! The structured log: one JSON object a line on stderr, the fields of the `call` span flattened into every line of the call.

use serde_json::{Map, Value};
use std::fmt;
use std::io::IsTerminal as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Installs the log for the whole process. `level` is ours alone, with levels of our modules where it names them; libraries
/// stay at `warn`, because at `debug` some of them print what they carry: numbers, words, tokens.
///
/// # Errors
/// When `level` is no level, or a log is installed already.
pub fn install(format: Format, level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(directives(level)?).map_err(|_| LogError::Level(level.to_owned()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Json => builder.fmt_fields(JsonFields).event_format(JsonLine).try_init(),
        Format::Pretty => builder.compact().with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    }
    .map_err(|_| LogError::Installed)
}

/// `log.level` as the filter wants it: a bare level is that of our own crate.
fn directives(level: &str) -> Result<String, LogError> {
    let mut directives = "warn,voice_gateway=info".to_owned();
    for piece in level.split(',').map(str::trim) {
        let (target, word) = piece.split_once('=').unwrap_or(("voice_gateway", piece));
        let ours = target == "voice_gateway" || target.starts_with("voice_gateway::");
        if !ours || word.parse::<tracing::metadata::LevelFilter>().is_err() {
            return Err(LogError::Level(level.to_owned()));
        }
        directives.push_str(&format!(",{target}={word}"));
    }
    Ok(directives)
}

/// Why the log could not be installed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// Not a level.
    #[error("log.level: {0:?} is not one of error, warn, info, debug, trace, nor levels of voice_gateway's modules")]
    Level(String),
    /// `install` was called twice.
    #[error("a log is installed already")]
    Installed,
}

/// Span fields kept as a JSON object, so that `JsonLine` can put them into each line.
#[derive(Debug)]
pub struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut object = Object::default();
        fields.record(&mut object);
        write!(writer, "{}", Value::Object(object.0))
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let mut object = Object(object_of(&current.fields));
        fields.record(&mut object);
        current.fields = Value::Object(object.0).to_string();
        Ok(())
    }
}

/// One event as one JSON line: timestamp, level, target, message and fields; the event's own fields win over the spans'.
#[derive(Debug)]
pub struct JsonLine;

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), jiff::Timestamp::now().to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().to_lowercase().into());
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                line.extend(object_of(&fields.fields));
            }
        }
        line.insert("target".to_owned(), event.metadata().target().into());
        let mut object = Object(line);
        event.record(&mut object);
        writeln!(writer, "{}", Value::Object(object.0))
    }
}

#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Object {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

fn object_of(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Shared(Arc<parking_lot::Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_of_a_call_carries_its_fields_at_the_top() {
        let written = Shared::default();
        let sink = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || sink.clone())
            .fmt_fields(JsonFields)
            .event_format(JsonLine)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("call", call_id = "a@b", contact_id = tracing::field::Empty);
            let _inside = span.enter();
            span.record("contact_id", "123");
            tracing::info!(event = "call_started", ringing = true, "a \"quoted\"\nline");
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["call_id"], "a@b");
        assert_eq!(line["contact_id"], "123");
        assert_eq!(line["event"], "call_started");
        assert_eq!(line["level"], "info");
        assert_eq!(line["message"], "a \"quoted\"\nline");
    }

    #[test]
    fn a_level_is_ours_and_may_name_our_modules_but_no_library() {
        for (level, filter) in [
            ("debug", "warn,voice_gateway=info,voice_gateway=debug"),
            ("warn, voice_gateway::call=trace", "warn,voice_gateway=info,voice_gateway=warn,voice_gateway::call=trace"),
            ("voice_gateway::sip=off", "warn,voice_gateway=info,voice_gateway::sip=off"),
        ] {
            assert_eq!(directives(level).as_deref(), Ok(filter));
        }
        assert!(directives("info,hyper=trace").is_err());
        assert!(directives("voice_gateway_of_another=info").is_err());
    }

    #[test]
    fn a_level_that_is_none_is_named() {
        assert_eq!(install(Format::Json, "loud"), Err(LogError::Level("loud".to_owned())));
    }
}
