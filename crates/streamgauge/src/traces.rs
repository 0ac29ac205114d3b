//! Traces on their way to a collector: OpenTelemetry's own parts, put together, with a queue in front of them that holds up
//! nothing. Where spans begin and end is said in `sg-http` and `sg-pipeline`.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use sg_core::metrics::TraceMetrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::traces::{Sampling, TraceSettings};

/// How long a stop waits for the last spans.
const LAST_SPANS_WAIT: Duration = Duration::from_secs(2);

/// Spans of this process and the task that sends them.
pub(crate) struct Traces {
    /// Makes spans.
    pub(crate) tracer: Arc<BoxedTracer>,
    /// What became of them.
    pub(crate) metrics: Arc<TraceMetrics>,
    stop: CancellationToken,
    sending: TaskTracker,
}

impl Traces {
    /// Starts sending. Nothing is asked of the collector before the first span.
    pub(crate) fn start(settings: &TraceSettings) -> anyhow::Result<Traces> {
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        // Another part of the process may have said the same before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(&settings.endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(settings.timeout)
            .with_headers(settings.headers.clone())
            .build()
            .context("OTEL_EXPORTER_OTLP_ENDPOINT: preparing to send traces")?;
        let metrics = Arc::new(TraceMetrics::default());
        let (queue, mut sender) = queue::new(exporter, metrics.clone());
        let resource = resource(settings);
        sender.describe(&resource);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(sampler(settings.sampling))
            .with_resource(resource)
            .build();
        let tracer = Arc::new(BoxedTracer::new(Box::new(provider.tracer("streamgauge"))));
        let stop = CancellationToken::new();
        let sending = TaskTracker::new();
        sending.spawn(sender.run(stop.clone()));
        sending.close();
        Ok(Traces { tracer, metrics, stop, sending })
    }

    /// Sends what waits, for a while.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_SPANS_WAIT, self.sending.wait()).await.is_err() {
            tracing::warn!("the last traces were not sent in time");
        }
    }
}

fn sampler(Sampling { by_parent, share }: Sampling) -> Sampler {
    let root = if share >= 1.0 {
        Sampler::AlwaysOn
    } else if share <= 0.0 {
        Sampler::AlwaysOff
    } else {
        Sampler::TraceIdRatioBased(share)
    };
    if by_parent { Sampler::ParentBased(Box::new(root)) } else { root }
}

/// Says whose spans they are; what the variables say goes first.
fn resource(settings: &TraceSettings) -> Resource {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let instance = format!("{node}-{}", std::process::id());
    let ours = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
    ];
    let given = settings.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder().with_attributes(ours).with_attributes(given).build()
}
