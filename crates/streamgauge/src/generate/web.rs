//! Visitors of a shop: sessions that begin, browse, sometimes buy, and end.

use sg_core::time::Timestamp;

use super::random::Random;

/// Visitors there are in all; some come back.
const USERS: u64 = 5_000;
/// How often an event ends its session, in a million: sessions have about a dozen events.
const END_PPM: u32 = 80_000;
/// How often an event begins a session while enough are open, in a million.
const BEGIN_PPM: u32 = 60_000;
/// How often an event begins a session while fewer are open, in a million.
const BEGIN_WHEN_QUIET_PPM: u32 = 120_000;

const PATHS: [&str; 8] = ["/", "/products", "/pricing", "/blog", "/docs", "/about", "/cart", "/checkout"];
const DEVICES: [(u64, &str); 3] = [(6, "mobile"), (5, "desktop"), (1, "tablet")];
const WORDS: [&str; 6] = ["lamp", "desk", "chair", "blue rug", "café table", "shelf"];

/// What a visitor does between coming and going.
#[derive(Debug, Clone, Copy)]
enum Act {
    View,
    Click,
    Search,
    AddToCart,
    Purchase,
    SignUp,
}

const ACTS: [(u64, Act); 6] = [
    (50, Act::View),
    (24, Act::Click),
    (12, Act::Search),
    (8, Act::AddToCart),
    (4, Act::Purchase),
    (2, Act::SignUp),
];

#[derive(Debug, Clone, Copy)]
struct Session {
    id: u64,
    user: u64,
    began: Timestamp,
    pages: u32,
}

/// The sessions that are open.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Vec<Session>,
    busy: usize,
}

impl Sessions {
    /// Returns a scene in which about `busy` sessions are open at once.
    pub(crate) fn new(busy: usize) -> Sessions {
        Sessions { open: Vec::new(), busy }
    }

    /// Appends the next event.
    pub(crate) fn write(&mut self, random: &mut Random, id: u128, at: Timestamp, line: &mut String) {
        let begin_ppm = if self.open.len() < self.busy { BEGIN_WHEN_QUIET_PPM } else { BEGIN_PPM };
        if self.open.is_empty() || random.chance(begin_ppm) {
            let session = Session { id: random.bits(), user: random.below(USERS), began: at, pages: 0 };
            self.open.push(session);
            write_head(line, id, "session_start", &session, at);
            *line += &format!(r#""device":"{}"}}}}"#, random.weighted(&DEVICES));
            return;
        }
        let index = random.index(self.open.len());
        if random.chance(END_PPM) {
            let session = self.open.swap_remove(index);
            write_head(line, id, "session_end", &session, at);
            let seconds = at.0.saturating_sub(session.began.0).max(0) / 1_000;
            *line += &format!(r#""seconds":{seconds},"pages":{}}}}}"#, session.pages);
            return;
        }
        let act = *random.weighted(&ACTS);
        let session = &mut self.open[index];
        session.pages += u32::from(matches!(act, Act::View));
        write_act(random, act, id, session, at, line);
    }
}

fn write_head(line: &mut String, id: u128, kind: &str, session: &Session, at: Timestamp) {
    *line += &format!(
        r#"{{"event_id":"{id:032x}","event_type":"{kind}","session_id":"s-{:016x}","user_id":"u{:04}","timestamp":"{at}","properties":{{"#,
        session.id, session.user
    );
}

fn write_act(random: &mut Random, act: Act, id: u128, session: &Session, at: Timestamp, line: &mut String) {
    let kind = match act {
        Act::View => "page_view",
        Act::Click => "click",
        Act::Search => "search",
        Act::AddToCart => "add_to_cart",
        Act::Purchase => "purchase",
        Act::SignUp => "signup",
    };
    write_head(line, id, kind, session, at);
    match act {
        Act::View => *line += &format!(r#""path":"{}""#, random.one_of(&PATHS)),
        Act::Click => *line += &format!(r#""element":"button-{}""#, random.below(20)),
        Act::Search => {
            *line += &format!(r#""query":"{}","results":{}"#, random.one_of(&WORDS), random.below(120))
        }
        Act::AddToCart => {
            *line += &format!(r#""sku":"sku-{:03}","quantity":{}"#, random.below(500), 1 + random.below(3));
        }
        Act::Purchase => {
            let cents = 199 + random.below(40_000);
            *line += &format!(r#""total":{}.{:02},"currency":"GBP""#, cents / 100, cents % 100);
        }
        Act::SignUp => *line += &format!(r#""plan":"{}""#, random.one_of(&["free", "team"])),
    }
    line.push_str("}}");
}
