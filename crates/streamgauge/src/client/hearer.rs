//! Those who hear an answer as it comes: line by line, or as bytes.

/// Hears an answer as it comes.
pub(super) trait Hearer {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()>;
}

/// Hears whole lines.
pub(super) struct Lines<'h> {
    hear: &'h mut (dyn FnMut(&str) -> anyhow::Result<()> + Send),
    text: Vec<u8>,
}

impl<'h> Lines<'h> {
    /// Returns one that has heard nothing yet.
    pub(super) fn new(hear: &'h mut (dyn FnMut(&str) -> anyhow::Result<()> + Send)) -> Lines<'h> {
        Lines { hear, text: Vec::new() }
    }
}

impl Hearer for Lines<'_> {
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.text.extend_from_slice(bytes);
        let whole = self.text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in self.text[..whole].split_inclusive(|byte| *byte == b'\n') {
            (self.hear)(String::from_utf8_lossy(line).trim_end())?;
        }
        self.text.drain(..whole);
        Ok(())
    }
}

/// Hears bytes.
pub(super) struct Pieces<'h>(pub(super) &'h mut (dyn FnMut(&[u8]) -> anyhow::Result<()> + Send));

impl Hearer for Pieces<'_> {
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        (self.0)(bytes)
    }
}
