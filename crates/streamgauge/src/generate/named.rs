//! Events of an application in the words of the event platform: a user, a name, metadata and a time, and no id, since
//! that platform makes it of these four. A reference in the metadata keeps different events different.

use sg_core::time::Timestamp;

use super::random::Random;

const NAMES: [(u64, &str); 6] =
    [(50, "page_view"), (20, "click"), (12, "search"), (8, "add_to_cart"), (6, "purchase"), (4, "signup")];
const SOURCES: [&str; 3] = ["web", "ios", "android"];

/// Appends the next event, of one of so many users.
pub(crate) fn write(random: &mut Random, (id, users): (u128, u64), at: Timestamp, line: &mut String) {
    let (name, source, user) = (random.weighted(&NAMES), random.one_of(&SOURCES), 1 + random.below(users));
    *line += &format!(
        r#"{{"user_id":"user_{user}","event_name":"{name}","metadata":{{"source":"{source}","reference":"{id:032x}"}},"timestamp":"{at}"}}"#
    );
}
