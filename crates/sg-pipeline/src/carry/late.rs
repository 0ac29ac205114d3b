//! Pages through a rollup's diverted events, the oldest first, of a store that lists the newest first. Holds one page.

use std::collections::VecDeque;
use std::sync::Arc;

use sg_core::ports::{PortError, RollupReader};
use sg_core::query::{LateQuery, StoredLate};

/// Rows of one page: some hundred MiB at the very worst.
const PAGE_ROWS: usize = 500;

/// Where the pages of a rollup's diverted events begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf {
    rollup: String,
    /// What each page is asked for with, the newest first.
    pages: Vec<Option<i64>>,
    /// How many there are.
    pub(super) total: u64,
}

impl Shelf {
    /// Turns all pages once.
    pub(super) async fn look(store: &dyn RollupReader, rollup: &str) -> Result<Shelf, PortError> {
        let mut shelf = Shelf { rollup: rollup.to_owned(), ..Shelf::default() };
        let mut before = None;
        loop {
            let page = store.late(&query(rollup, before)).await?;
            let Some(oldest) = page.last() else { return Ok(shelf) };
            shelf.pages.push(before);
            shelf.total += page.len() as u64;
            before = Some(oldest.id);
        }
    }

    /// Returns the rows, the oldest first.
    pub(super) fn rows(&self, store: Arc<dyn RollupReader>) -> LateRows {
        LateRows { store, shelf: self.clone(), waiting: VecDeque::new() }
    }
}

/// Diverted events of one rollup, the oldest first: ascending by offset, as they were folded.
pub(super) struct LateRows {
    store: Arc<dyn RollupReader>,
    shelf: Shelf,
    waiting: VecDeque<StoredLate>,
}

impl LateRows {
    /// Returns the next one, without taking it.
    pub(super) async fn peek(&mut self) -> Result<Option<&StoredLate>, PortError> {
        if self.waiting.is_empty()
            && let Some(before) = self.shelf.pages.pop()
        {
            self.waiting = self.store.late(&query(&self.shelf.rollup, before)).await?.into();
        }
        // A page has the newest in front.
        Ok(self.waiting.back())
    }

    /// Takes the next one if it is that of a record.
    pub(super) async fn take(&mut self, offset: u64) -> Result<Option<StoredLate>, PortError> {
        let is_next = self.peek().await?.is_some_and(|late| late.offset == offset);
        Ok(if is_next { self.waiting.pop_back() } else { None })
    }
}

fn query(rollup: &str, before: Option<i64>) -> LateQuery {
    LateQuery { rollup: Some(rollup.to_owned()), before, limit: PAGE_ROWS }
}
