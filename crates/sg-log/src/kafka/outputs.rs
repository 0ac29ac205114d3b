//! Topics that others read: produces records and waits for each of them. Shares nothing with the log's own producer, so
//! that a topic of others cannot hold up an event's answer.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use sg_core::output::OutputRecord;
use sg_core::ports::{ErrorKind, OutputTopics, PortError, RefusedRecord};

use super::fault::{self, Outage};
use super::stats::KafkaMetrics;
use super::{KafkaOptions, settings};
use crate::shared::lock;

/// How long a topic may be unknown to the brokers before its records are refused: topics are made long before.
const TOPIC_WAIT_MS: &str = "5000";

/// Writes topics that others read.
pub struct KafkaOutputs {
    config: ClientConfig,
    producer: Mutex<Producer>,
    outage: Arc<Outage>,
}

type Producer = Arc<FutureProducer<Client, NoRuntime>>;

/// What the producer says of itself.
struct Client {
    outage: Arc<Outage>,
    stats: Arc<KafkaMetrics>,
}

/// The producer asks for a runtime only to wait for room, which is never done here.
struct NoRuntime;

impl rdkafka::util::AsyncRuntime for NoRuntime {
    type Delay = std::future::Ready<()>;

    fn spawn<T: Future<Output = ()> + Send + 'static>(_: T) {}

    fn delay_for(_: std::time::Duration) -> Self::Delay {
        std::future::ready(())
    }
}

/// How a record ended.
enum End {
    Taken,
    TooLarge,
    Refused(RDKafkaErrorCode),
    /// Another one of the same batch was refused.
    Beside,
    /// Nobody knows.
    Open(KafkaError),
}

impl KafkaOutputs {
    /// Prepares the producer. Reaches for no broker yet.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for options that cannot be.
    pub fn open(options: &KafkaOptions) -> Result<KafkaOutputs, PortError> {
        settings::check(options)?;
        let mut config = settings::producer(options);
        config.set("topic.metadata.propagation.max.ms", TOPIC_WAIT_MS);
        let outage = Arc::<Outage>::default();
        let made = make(&config, &outage).map_err(|error| fault::unusable("make a kafka producer", error))?;
        Ok(KafkaOutputs { config, producer: Mutex::new(made), outage })
    }

    /// Returns the producer; another one in the place of one that cannot go on.
    fn producer(&self) -> Result<Producer, PortError> {
        let mut producer = lock(&self.producer);
        if producer.client().fatal_error().is_some() {
            let fresh = make(&self.config, &self.outage)
                .map_err(|error| fault::retry("make another kafka producer", error))?;
            tracing::warn!("the kafka producer of output topics could not go on: another one took its place");
            let old = std::mem::replace(&mut *producer, fresh);
            // Waits for answers that may not come: not here.
            drop(std::thread::Builder::new().name("kafka-outputs-end".to_owned()).spawn(move || drop(old)));
        }
        Ok(producer.clone())
    }

    /// Sends records together and waits for all of them.
    async fn send(&self, records: &[&OutputRecord]) -> Result<Vec<End>, PortError> {
        let producer = self.producer()?;
        let handed_over: Vec<Result<DeliveryFuture, KafkaError>> =
            records.iter().map(|record| hand_over(&producer, record)).collect();
        let mut ends = Vec::with_capacity(records.len());
        for delivery in handed_over {
            let end = match delivery {
                Err(error) => end_of(error),
                Ok(delivery) => match delivery.await {
                    Ok(Ok(_)) => {
                        self.outage.over("outputs");
                        End::Taken
                    }
                    Ok(Err((error, _))) => end_of(error),
                    Err(_) => End::Open(KafkaError::Canceled),
                },
            };
            ends.push(end);
        }
        Ok(ends)
    }
}

#[async_trait]
impl OutputTopics for KafkaOutputs {
    async fn produce(&self, records: &[OutputRecord]) -> Result<Vec<RefusedRecord>, PortError> {
        let mut ends = self.send(&records.iter().collect::<Vec<_>>()).await?;
        for (end, record) in ends.iter_mut().zip(records) {
            // The broker refuses all that came together for one of them: alone a record may be right.
            if matches!(end, End::TooLarge | End::Beside | End::Refused(RDKafkaErrorCode::InvalidRecord))
                && let Some(alone) = self.send(&[record]).await?.pop()
            {
                *end = alone;
            }
        }
        let mut refused = Vec::new();
        for (index, (end, record)) in ends.into_iter().zip(records).enumerate() {
            match end {
                End::Taken => {}
                End::TooLarge => {
                    let why = "it is larger than the topic's max.message.bytes".to_owned();
                    refused.push(RefusedRecord { index, is_too_large: true, why });
                }
                End::Beside => {
                    let doing = format!("write to the kafka topic {}", record.topic);
                    return Err(PortError::new(ErrorKind::Retry, doing));
                }
                End::Refused(code) => {
                    refused.push(RefusedRecord { index, is_too_large: false, why: code.to_string() });
                }
                End::Open(error) => {
                    let doing = format!("write to the kafka topic {}", record.topic);
                    return Err(PortError::from_source(ErrorKind::Retry, doing, error));
                }
            }
        }
        Ok(refused)
    }
}

fn make(config: &ClientConfig, outage: &Arc<Outage>) -> Result<Producer, KafkaError> {
    let client = Client { outage: outage.clone(), stats: Arc::default() };
    Ok(Arc::new(FutureProducer::from_config_and_context(config, client)?))
}

fn hand_over(
    producer: &FutureProducer<Client, NoRuntime>,
    record: &OutputRecord,
) -> Result<DeliveryFuture, KafkaError> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (name, value) in &record.headers {
        headers = headers.insert(Header { key: name, value: Some(value) });
    }
    let mut to_send: FutureRecord<'_, [u8], [u8]> =
        FutureRecord::to(&record.topic).payload(record.value.as_slice()).headers(headers);
    to_send.key = record.key.as_deref();
    producer.send_result(to_send).map_err(|(error, _)| error)
}

fn end_of(error: KafkaError) -> End {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge) => End::TooLarge,
        Some(Code::InvalidDifferentRecord) => End::Beside,
        Some(
            code @ (Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed),
        ) => End::Refused(code),
        _ => End::Open(error),
    }
}

impl ClientContext for Client {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        fault::log("outputs", level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.outage.note("outputs", &error, reason, &self.stats);
    }
}
