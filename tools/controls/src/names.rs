//! Names as small numbers, shared by all requests: what a counter keeps instead of text.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Every name seen, in the order of its number.
#[derive(Debug, Default)]
pub struct Names {
    numbers: HashTable<u32>,
    names: Vec<Box<str>>,
}

impl Names {
    /// Returns the number of a name, a new one where it was never seen.
    pub fn number(&mut self, name: &str) -> u32 {
        let hash = xxh3_64(name.as_bytes());
        let names = &self.names;
        if let Some(number) = self.numbers.find(hash, |number| &*names[*number as usize] == name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.into());
        let names = &self.names;
        self.numbers.insert_unique(hash, number, |number| xxh3_64(names[*number as usize].as_bytes()));
        number
    }

    /// Returns the name of a number that [`Names::number`] gave.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }
}

#[cfg(test)]
mod tests;
