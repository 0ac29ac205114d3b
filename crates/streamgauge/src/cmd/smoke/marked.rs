//! The events that are sent: few, dated now, and recognisable. Pure.

use sg_core::time::Timestamp;

/// The stream of three systems.
pub(super) const EVENTS: &str = "events";
/// The type of all events of that stream.
pub(super) const KIND: &str = "smoke";
/// The stream of stream-metrics.
pub(super) const STREAM_EVENTS: &str = "stream.events";
/// The stream of pageviews.
pub(super) const PAGEVIEWS: &str = "pageviews";

/// What the donations come to that are sent over HTTP, and the one that goes straight to the topic, in cents.
pub(super) const DONATED_CENTS: i128 = 11_245;
pub(super) const DONATED_TO_TOPIC_CENTS: i128 = 100_005;
/// How many messages are sent.
pub(super) const CHAT_MESSAGES: i128 = 2;
/// How many different pageviews are sent.
pub(super) const PAGEVIEWS_SENT: i128 = 3;

/// The events of one run.
#[derive(Debug)]
pub(super) struct Marked {
    /// What names them: `smoke-` and an id.
    pub(super) mark: String,
    /// When they happen.
    pub(super) at: Timestamp,
}

impl Marked {
    /// Returns the events of a run.
    pub(super) fn new(random: u64, at: Timestamp) -> Marked {
        Marked { mark: format!("smoke-{:08x}", random as u32), at }
    }

    /// Returns what happens in a live stream, one event a line: the last is the second one sent again.
    pub(super) fn broadcast(&self) -> String {
        let lines = [
            self.in_stream("1", "viewer_join", ""),
            self.in_stream("2", "donation", r#","amount_usd":12.34"#),
            self.in_stream("3", "chat_message", r#","message_len":5"#),
            self.in_stream("4", "donation", r#","amount_usd":0.01"#),
            self.in_stream("5", "chat_message", r#","message_len":40"#),
            self.in_stream("6", "donation", r#","amount_usd":100.10"#),
            self.in_stream("2", "donation", r#","amount_usd":12.34"#),
        ];
        lines.join("\n")
    }

    /// Returns a donation for the topic.
    pub(super) fn donation_to_topic(&self) -> String {
        self.in_stream("topic", "donation", r#","amount_usd":1000.05"#)
    }

    fn in_stream(&self, number: &str, kind: &str, more: &str) -> String {
        let Marked { mark, at } = self;
        format!(
            r#"{{"event_id":"{mark}-{number}","ts":"{at}","event_type":"{kind}","stream_id":"{mark}","user_id":"{mark}"{more}}}"#
        )
    }

    /// Returns an event as our own, of a session, with an id that ends like this.
    pub(super) fn event(&self, end: &str) -> String {
        let Marked { mark, at } = self;
        format!(
            r#"{{"event_id":"{mark}-{end}","event_type":"{KIND}","session_id":"{mark}","timestamp":"{at}"}}"#
        )
    }

    /// Returns an event in the words of the event platform, which has no id.
    pub(super) fn named(&self) -> String {
        let Marked { mark, at } = self;
        format!(
            r#"{{"user_id":"{mark}","event_name":"{KIND}","metadata":{{"run":"{mark}"}},"timestamp":"{at}"}}"#
        )
    }

    /// Returns an event in the words of web analytics, which has neither id nor time.
    pub(super) fn of_session(&self) -> String {
        let mark = &self.mark;
        format!(r#"{{"sessionId":"{mark}","eventType":"{KIND}","payload":"{{\"path\":\"/{mark}\"}}"}}"#)
    }

    /// Returns a pageview, which has no id: sent again it is another one.
    pub(super) fn pageview(&self) -> String {
        let Marked { mark, at } = self;
        let seconds = at.0.div_euclid(1_000);
        format!(
            r#"{{"user_id":1,"postcode":"{mark}","webpage":"www.website.com/{KIND}.html","timestamp":{seconds}}}"#
        )
    }

    /// Returns an hour before and after, as a range of a question.
    pub(super) fn range(&self) -> (String, String) {
        let hour = std::time::Duration::from_secs(3_600);
        (self.at.minus(hour).to_string(), self.at.plus(hour).to_string())
    }

    /// Says what is left of the run.
    pub(super) fn stays(&self) -> String {
        format!(
            "the events of this test stay: their stream_id, session, user and postcode are {}, their type is {KIND}",
            self.mark
        )
    }
}

#[cfg(test)]
mod tests;
