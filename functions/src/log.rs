//! The log: one JSON object per line on the platform's console, which keeps it as structured fields. Each line carries
//! the fields of the span it was written in, so that all lines of one request can be found by its id.
//!
//! Nothing is logged that a caller or a provider keeps secret; whoever writes a line is responsible for its fields.

use std::fmt;

use aos::{ids, platform::Clock};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Metadata, Span, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::{platform::WorkersClock, state::Isolate};

/// Starts the isolate's log, and says in it what is wrong with the settings.
pub(crate) fn start(isolate: &Isolate) {
    let level = isolate
        .configured
        .as_ref()
        .map_or(LevelFilter::INFO, |configured| configured.app.settings.log);
    // An isolate starts it once; should there be a log already, that one serves.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(Console { level }));
    if let Err(misconfigured) = &isolate.configured {
        for problem in &misconfigured.problems {
            tracing::error!(
                setting = problem.name,
                reason = problem.reason,
                "the Worker is misconfigured"
            );
        }
    }
}

/// A new id for what happens in one request or other invocation.
pub(crate) fn new_id(clock: &dyn Clock) -> String {
    format!("req_{}", ids::new_v7(clock).simple())
}

/// The span of an invocation that no caller asked for.
pub(crate) fn span(clock: &dyn Clock, what: &'static str) -> Span {
    // Of the highest level, so that no setting takes the id away from the lines inside.
    tracing::error_span!("invocation", what, request_id = new_id(clock))
}

struct Console {
    level: LevelFilter,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Console {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Fields::default();
        line.put("time", WorkersClock.now().to_string());
        line.put("level", event.metadata().level().as_str().to_ascii_lowercase());
        line.put("target", event.metadata().target());
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.0.extend(fields.0.clone());
            }
        }
        event.record(&mut line);
        write(*event.metadata().level(), &Value::Object(line.0).to_string());
    }
}

fn write(level: Level, line: &str) {
    match level {
        Level::ERROR => worker::console_error!("{line}"),
        Level::WARN => worker::console_warn!("{line}"),
        Level::INFO => worker::console_log!("{line}"),
        Level::DEBUG | Level::TRACE => worker::console_debug!("{line}"),
    }
}

/// The fields of a span or an event, as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}
