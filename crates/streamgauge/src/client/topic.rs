//! A topic as the commands write to it: as a producer that knows nothing of us, plain JSON under the stream's key.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use sg_core::batch::EventBatch;
use sg_core::event::OwnNames;
use sg_core::plan::{Arrival, Plan};
use sg_core::ports::{EventLog, PortError};

use crate::cmd::config as config_cmd;
use crate::config::Settings;
use crate::wire;

/// A stream's topic, and how its events are keyed.
pub(crate) struct Topic {
    log: Arc<dyn EventLog>,
    plan: Arc<Plan>,
}

impl Topic {
    /// Opens the topic of a stream, as the configuration of this folder and environment names it.
    ///
    /// # Errors
    /// When the configuration is wrong or has no such stream, or the brokers cannot be used.
    pub(crate) fn open(stream: &str, brokers: &str) -> anyhow::Result<Topic> {
        let (layers, _) = config_cmd::layers(None, None)?;
        let settings = Settings::resolve(&layers).map_err(|errors| anyhow::anyhow!(errors.join("; ")))?;
        let found = settings.streams.iter().find(|known| known.stream.name == stream);
        let found = found.with_context(|| format!("the configuration has no stream {stream}"))?;
        let plan = Arc::new(Plan::new(found.stream.clone(), &[]));
        let log = wire::kafka::writer(&settings, brokers, std::slice::from_ref(&plan))?;
        Ok(Topic { log, plan })
    }

    /// Returns the stream.
    pub(crate) fn stream(&self) -> &str {
        &self.plan.name
    }

    /// Returns the names of its own under which the stream reads fields.
    pub(crate) fn names(&self) -> &OwnNames {
        &self.plan.stream.fields
    }

    /// Returns the lines as records without anything of ours beside them.
    ///
    /// # Errors
    /// When a line is no event of the stream.
    pub(crate) fn batch(&self, body: &Bytes) -> anyhow::Result<EventBatch> {
        let text = std::str::from_utf8(body).context("reading events of our own")?;
        let mut batch = EventBatch::new(self.plan.name.clone(), body.clone());
        let mut arrival = Arrival { received_at: None, new_id: &mut String::new };
        for line in text.lines() {
            let accepted = self.plan.accept(line, &mut arrival, &mut batch);
            accepted.map_err(|refusal| anyhow::anyhow!("sending {line}: {}", refusal.detail))?;
        }
        Ok(batch)
    }

    /// Writes records, and waits until all in-sync replicas have them.
    ///
    /// # Errors
    /// Those of the log.
    pub(crate) async fn append(&self, batch: EventBatch) -> Result<(), PortError> {
        self.log.append(batch).await.map(|_| ())
    }
}
