//! How failures of librdkafka become errors of the port, and its log becomes ours.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sg_core::ports::{ErrorKind, PortError};

use super::stats::KafkaMetrics;

/// Makes the error of a request that may be tried again.
pub(super) fn retry(doing: impl Into<String>, error: KafkaError) -> PortError {
    PortError::from_source(ErrorKind::Retry, doing, error)
}

/// Makes the error of a client that could not be made: what was typed is wrong.
pub(super) fn unusable(doing: &str, error: KafkaError) -> PortError {
    PortError::from_source(ErrorKind::Invalid, format!("{doing}; check the kafka properties"), error)
}

/// Makes the error of something that the caller asked wrongly.
pub(super) fn invalid(doing: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Invalid, doing)
}

/// Makes the error of a partition that must stand still.
pub(super) fn corrupt(doing: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Corrupt, doing)
}

/// Makes the error of a topic that the brokers do not know.
pub(super) fn unknown_topic(topic: &str) -> PortError {
    corrupt(format!(
        "use the kafka topic {topic}: the brokers do not have it; if it was never made, `streamgauge topics ensure` \
         makes it; if it was deleted, its events are gone"
    ))
}

/// What a failure of one partition's fetches means.
pub(super) enum Meaning {
    /// librdkafka goes on by itself and leaves nothing out.
    Passing,
    /// Begin again from where the work is known to be done.
    Again,
    /// Records are missing or cannot be read.
    Lost(&'static str),
}

/// Tells what a failure of one partition's fetches means.
pub(super) fn meaning(code: RDKafkaErrorCode) -> Meaning {
    use RDKafkaErrorCode as Code;
    match code {
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Meaning::Lost(
            "the log does not hold that offset: records were deleted or expired before they were read, or the topic \
             was made again; start over from what it holds only if their loss is accepted",
        ),
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            Meaning::Lost("the topic or the partition was deleted")
        }
        Code::BadMessage | Code::InvalidMessage => {
            Meaning::Lost("the record fails its checksum or is malformed; check the brokers' disks")
        }
        Code::BadCompression | Code::NotImplemented => {
            Meaning::Lost("the record is packed in a way that this program cannot read; find who wrote it")
        }
        Code::MessageSizeTooLarge => {
            Meaning::Lost("the record is larger than may be fetched; raise receive.message.max.bytes")
        }
        Code::AllBrokersDown
        | Code::BrokerDestroy
        | Code::BrokerNotAvailable
        | Code::BrokerTransportFailure
        | Code::FencedLeaderEpoch
        | Code::KafkaStorageError
        | Code::LeaderNotAvailable
        | Code::NetworkException
        | Code::NotLeaderForPartition
        | Code::OffsetNotAvailable
        | Code::OperationTimedOut
        | Code::ReplicaNotAvailable
        | Code::RequestTimedOut
        | Code::Resolve
        | Code::TimedOutQueue
        | Code::TopicAuthorizationFailed
        | Code::UnknownLeaderEpoch
        | Code::WaitingForCoordinator => Meaning::Passing,
        _ => Meaning::Again,
    }
}

/// Whether brokers can be reached, told once per outage.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    /// Takes note of an error that a client reports of itself.
    pub(super) fn note(&self, client: &str, error: &KafkaError, reason: &str, stats: &KafkaMetrics) {
        let is_outage = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::Resolve
                    | RDKafkaErrorCode::OperationTimedOut
            )
        );
        if !is_outage {
            tracing::warn!(client, %error, reason, "kafka reports an error");
        } else if !self.0.swap(true, Ordering::Relaxed) {
            stats.outages.add(1);
            tracing::warn!(client, %error, reason, "a kafka broker cannot be reached: trying again until it can");
        }
    }

    /// Takes note of an answer from a broker.
    pub(super) fn over(&self, client: &str) {
        if self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed) {
            tracing::info!(client, "kafka brokers answer again");
        }
    }
}

/// Passes a line of librdkafka's log on. What `Outage` tells once, librdkafka repeats: that goes to debug.
pub(super) fn log(client: &str, level: RDKafkaLogLevel, facility: &str, text: &str) {
    let is_repeated = matches!(facility, "FAIL" | "ERROR" | "CONFWARN" | "REQTMOUT" | "MAXPOLL");
    match level {
        RDKafkaLogLevel::Debug => tracing::trace!(client, facility, "{text}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => tracing::debug!(client, facility, "{text}"),
        _ if is_repeated => tracing::debug!(client, facility, "{text}"),
        _ => tracing::warn!(client, facility, "{text}"),
    }
}
