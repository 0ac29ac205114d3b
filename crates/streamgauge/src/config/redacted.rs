//! Texts of settings as they may be shown: without passwords.

/// Returns a URL without the password of its login, and without one among its parameters. What is no URL stays as it is.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (front, query) = rest.split_once('?').map_or((rest, None), |(front, query)| (front, Some(query)));
    let mut shown = format!("{scheme}://");
    match front.rsplit_once('@') {
        Some((login, host)) => {
            let (user, password) =
                login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
            shown += &format!("{user}{}@{host}", if password.is_some() { ":***" } else { "" });
        }
        None => shown += front,
    }
    if let Some(query) = query {
        let hidden = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if is_secret(&name.to_ascii_lowercase()) => format!("{name}=***"),
            _ => pair.to_owned(),
        };
        shown += &format!("?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&"));
    }
    shown
}

/// Returns whether a key of settings holds what must not be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    ["password", "secret", "token", "ssl.key.pem", "jaas", "admin_key"].iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests;
