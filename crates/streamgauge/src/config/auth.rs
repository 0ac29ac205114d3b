//! Whether keys are asked for, and the one that the configuration gives.

use sg_core::key::KeyHash;
use sg_http::Auth;

use super::reader::{Errors, Reader};

/// Says that an address needs a key before it is served.
pub(crate) fn unguarded(address: &str) -> String {
    format!(
        "{address} can be reached from other machines, and nobody has a key: give one in admin_key (the variable STREAMGAUGE_ADMIN_KEY), \
         or make one while the server listens on 127.0.0.1 (`streamgauge keys create`), or write auth = \"off\" where \
         something in front of the server guards it"
    )
}

/// Characters of the key in the configuration: so many of any alphabet are not guessed.
const ADMIN_KEY_CHARACTERS_MIN: usize = 32;

/// Reads who is let in.
pub(crate) fn auth(reader: &mut Reader<'_>, errors: &mut Errors) -> Auth {
    let auth = reader.text("auth", "keys", errors);
    let given = reader.text("admin_key", "", errors);
    if !matches!(auth.as_str(), "keys" | "off") {
        errors.add("auth", format!("is keys or off, not {auth}"));
    }
    // It must fit a header and a cookie. The text itself is not said.
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\\');
    if !given.is_empty() && (given.len() < ADMIN_KEY_CHARACTERS_MIN || !given.bytes().all(fits)) {
        errors.add(
            "admin_key",
            format!(
                "is a secret of at least {ADMIN_KEY_CHARACTERS_MIN} letters and digits, such as `openssl rand -hex 32` makes"
            ),
        );
    }
    if auth == "off" {
        return Auth::Off;
    }
    Auth::Keys { given: (!given.is_empty()).then(|| KeyHash::of(&given)) }
}
