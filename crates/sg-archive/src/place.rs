//! What an archive's URL says: a folder, or a bucket with a prefix. Opens nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket.
    Bucket {
        /// Its name.
        name: String,
        /// What stands before each path: empty, or ending in a slash.
        prefix: String,
    },
}

impl Place {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence about it.
    pub fn parse(url: &str) -> Result<Place, String> {
        let wanted = || format!("is \"off\", file:FOLDER or s3://BUCKET[/PREFIX], not {url}");
        if let Some(path) = url.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wanted()) } else { Ok(Place::Folder(PathBuf::from(path))) };
        }
        let rest = url.strip_prefix("s3://").ok_or_else(wanted)?;
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(wanted());
        }
        let prefix = prefix.trim_matches('/');
        let is_fine = prefix.bytes().all(|byte| is_plain(byte) || b"/=".contains(&byte));
        if !is_fine || prefix.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(format!("has a prefix of letters, digits, - _ . = and /, not {prefix}"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Place::Bucket { name: name.to_owned(), prefix })
    }

    /// Returns the URL, always in the same spelling.
    pub fn url(&self) -> String {
        match self {
            Place::Folder(path) => format!("file:{}", path.display()),
            Place::Bucket { name, prefix } => format!("s3://{name}/{prefix}"),
        }
    }
}

/// The variables of the environment by which a bucket is reached. They hold secrets and do not show themselves.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// Keeps those that begin with `AWS_`.
    pub fn of(all: &BTreeMap<String, String>) -> Variables {
        let ours = all.iter().filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
        Variables(ours.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Returns the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
