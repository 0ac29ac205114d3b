//! Live streams: they start and stop, viewers join, leave, chat and donate.

use sg_core::time::Timestamp;

use super::random::Random;

const STREAMS: u64 = 3;
const USERS: u64 = 500;

const KINDS: [(u64, &str); 6] = [
    (1, "stream_start"),
    (1, "stream_stop"),
    (8, "viewer_join"),
    (7, "viewer_leave"),
    (10, "chat_message"),
    (2, "donation"),
];

/// Appends the next event.
pub(crate) fn write(random: &mut Random, id: u128, at: Timestamp, line: &mut String) {
    let kind = *random.weighted(&KINDS);
    let (stream, user) = (1 + random.below(STREAMS), 1 + random.below(USERS));
    *line += &format!(
        r#"{{"event_id":"{id:032x}","ts":"{at}","event_type":"{kind}","stream_id":"stream_{stream}","user_id":"user_{user}""#
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
