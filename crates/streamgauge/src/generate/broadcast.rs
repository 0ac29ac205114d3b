//! Live streams: they start and stop, viewers join, leave, chat and donate.

use sg_core::time::Timestamp;

use super::Cast;
use super::random::Random;

/// Live streams there are unless chosen otherwise.
pub(crate) const STREAMS: u64 = 3;
/// Users there are unless chosen otherwise.
pub(crate) const USERS: u64 = 500;

const KINDS: [(u64, &str); 6] = [
    (1, "stream_start"),
    (1, "stream_stop"),
    (8, "viewer_join"),
    (7, "viewer_leave"),
    (10, "chat_message"),
    (2, "donation"),
];

/// Who streams, and who watches.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    /// The live streams; at least one.
    pub(crate) streams: Vec<String>,
    /// How many users there are.
    pub(crate) users: u64,
}

impl Default for Crowd {
    fn default() -> Crowd {
        Crowd { streams: Cast::stream_names(STREAMS), users: USERS }
    }
}

impl Crowd {
    /// Appends the next event.
    pub(crate) fn write(&self, random: &mut Random, id: u128, at: Timestamp, line: &mut String) {
        let kind = *random.weighted(&KINDS);
        let (stream, user) = (random.index(self.streams.len()), 1 + random.below(self.users));
        let stream = quoted(&self.streams[stream]);
        *line += &format!(
            r#"{{"event_id":"{id:032x}","ts":"{at}","event_type":"{kind}","stream_id":{stream},"user_id":"user_{user}""#
        );
        match kind {
            "chat_message" => *line += &format!(r#","message_len":{}"#, 1 + random.below(200)),
            "donation" => {
                let cents = 100 + random.below(20_000);
                *line += &format!(r#","amount_usd":{}.{:02}"#, cents / 100, cents % 100);
            }
            _ => {}
        }
        line.push('}');
    }
}

/// Returns a text as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
