//! One look at everything that is shown live: how far log and store are, what this process has counted, and the newest
//! windows of every rollup. Asks the ports; compares nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sg_core::definition::Rollup;
use sg_core::limits::TIME_MAX_MS;
use sg_core::ports::{PortError, RollupStatus};
use sg_core::query::{CellOrder, CellQuery, CellRow, Row, TallyQuery};
use sg_core::time::Timestamp;
use sg_core::window;
use tokio::time::Instant;

use crate::App;
use crate::health;
use crate::rollups;
use crate::systems::newest::{self, ALWAYS};

use super::marks::{Marks, marks};

/// Cells of a rollup that are looked at: half an hour of minutes of some sixty series.
const CELLS_MAX: usize = 2_000;
/// Panes told of a rollup at most,
const PANES_MAX: usize = 60;
/// and how many of the newest are told even when their cells are too many to read: a screen of them.
const PANES_SHOWN: i64 = 30;
/// Cells are read again after so long even when no partition has moved: a rebuild moves none.
const CELLS_STALE: Duration = Duration::from_secs(10);
/// The last minute is a minute.
const MINUTE: Duration = Duration::from_secs(60);
/// Today is counted anew after this,
const TODAY_STALE: Duration = Duration::from_secs(5);
/// and not before it has cost less than one part in so many of the time.
const TODAY_COST: u32 = 50;
const DAY_MS: i64 = 86_400_000;

/// Everything of one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) at: Timestamp,
    pub(super) taken: Instant,
    pub(super) marks: Arc<Marks>,
    pub(super) process: Process,
    pub(super) health: Health,
    /// By stream, in the order of the doors.
    pub(super) streams: Vec<Flow>,
    pub(super) today: Option<Today>,
    /// In the order of the doors.
    pub(super) rollups: Vec<RollupLook>,
}

/// What this process has counted, as totals.
#[derive(Debug, Clone, Default)]
pub(super) struct Process {
    pub(super) requests: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) body_bytes: u64,
    pub(super) appends: (u64, f64),
    pub(super) flushes: (u64, f64),
    pub(super) flush_retries: u64,
}

/// How the process is, in one word and by its causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) state: &'static str,
    pub(super) causes: Vec<String>,
}

/// What came of a stream until now.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    pub(super) received: u64,
    pub(super) written: u64,
    pub(super) duplicate: u64,
    pub(super) dead_lettered: u64,
    pub(super) deleted: u64,
    pub(super) skipped: u64,
    pub(super) lag: u64,
    /// When so many had been received, for a minute back.
    pub(super) history: VecDeque<(Instant, u64)>,
}

/// Events of today in UTC, by their own time.
#[derive(Debug, Clone)]
pub(super) struct Today {
    pub(super) events: u64,
    counted_at: Instant,
    cost: Duration,
}

/// The newest windows of one rollup.
#[derive(Debug, Clone, Default)]
pub(super) struct RollupLook {
    pub(super) closed_to: Option<Timestamp>,
    /// By window and dimensions.
    pub(super) rows: BTreeMap<(Timestamp, Vec<String>), Row>,
    /// Whole panes, over all dimensions.
    pub(super) panes: BTreeMap<Timestamp, Pane>,
    /// Whether older windows were left out.
    pub(super) is_cut: bool,
    /// Where the stream's partitions stood, and when the cells were read.
    pub(super) read_at: Option<(Vec<u64>, Instant)>,
}

/// What all cells of a pane have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) events: u64,
    pub(super) late: u64,
    pub(super) revision: u64,
    pub(super) cells: u64,
}

impl Look {
    /// Looks at everything. What does not answer is as it was at the last look.
    pub(super) async fn take(app: &App, last: Option<&Look>) -> Look {
        let marks = marks(app).await;
        let standing = health::judge(app, app.roles, Some(&marks.status), Some(&marks.pending));
        let taken = Instant::now();
        let mut look = Look {
            at: app.clock.now(),
            taken,
            process: Process::of(app),
            health: Health::of(standing),
            streams: flows(app, &marks, taken, last),
            today: last.and_then(|last| last.today.clone()),
            rollups: last.map_or_else(Vec::new, |last| last.rollups.clone()),
            marks,
        };
        if app.roles.query && look.marks.status.is_ok() {
            look.read_rollups(app).await;
            look.count_today(app).await;
        }
        look
    }

    async fn read_rollups(&mut self, app: &App) {
        let all: Vec<&Rollup> = rollups::rollups(app).collect();
        self.rollups.resize_with(all.len(), RollupLook::default);
        for (rollup, look) in all.into_iter().zip(&mut self.rollups) {
            let places = self.marks.places(&rollup.stream);
            let offsets: Vec<u64> = places.iter().map(super::Place::next_offset).collect();
            let is_fresh = look
                .read_at
                .as_ref()
                .is_some_and(|(known, at)| *known == offsets && at.elapsed() < CELLS_STALE);
            if !is_fresh {
                // A store that does not answer shows in the marks; the windows stay as they were.
                if let Ok(read) = read_windows(app, rollup, look).await {
                    *look = RollupLook { read_at: Some((offsets, Instant::now())), ..read };
                }
            }
            let statuses = self.marks.status.as_ref().map_or(&[][..], |status| &status.rollups);
            look.closed_to = closed_to(statuses, &rollup.name);
        }
    }

    /// Counts today's events of each stream by its rollup with the shortest panes.
    async fn count_today(&mut self, app: &App) {
        let is_fresh = |today: &Today| today.counted_at.elapsed() < TODAY_STALE.max(today.cost * TODAY_COST);
        if self.today.as_ref().is_some_and(is_fresh) {
            return;
        }
        let began = Instant::now();
        let from = window::start_of(self.at, DAY_MS);
        let to = Timestamp(from.0 + DAY_MS);
        let mut events = 0;
        for door in &app.doors {
            let of_stream = door.plan.rollups.iter().map(|planned| &planned.rollup);
            let Some(rollup) = of_stream.min_by_key(|rollup| rollup.pane_ms) else { continue };
            match app.store.totals(&TallyQuery { rollup: rollup.clone(), from, to }).await {
                Ok(totals) => events += totals.events,
                Err(_) => return,
            }
        }
        self.today = Some(Today { events, counted_at: Instant::now(), cost: began.elapsed() });
    }

    /// Returns what came of all streams.
    pub(super) fn total(&self) -> Flow {
        let mut total = Flow::default();
        for flow in &self.streams {
            total.received += flow.received;
            total.written += flow.written;
            total.duplicate += flow.duplicate;
            total.dead_lettered += flow.dead_lettered;
            total.deleted += flow.deleted;
            total.skipped += flow.skipped;
            total.lag += flow.lag;
            if total.history.is_empty() {
                total.history.clone_from(&flow.history);
            } else {
                total.history.iter_mut().zip(&flow.history).for_each(|(sum, more)| sum.1 += more.1);
            }
        }
        total
    }
}

impl Process {
    fn of(app: &App) -> Process {
        let metrics = &app.metrics;
        let timed = |histogram: &sg_core::metrics::Histogram| {
            let count = histogram.count();
            (count, histogram.mean_ms() * count as f64)
        };
        Process {
            requests: metrics.requests.get(),
            accepted: metrics.accepted.get(),
            refused: metrics.rejected.total(),
            body_bytes: (app.budget_bytes - app.budget.available_permits()) as u64,
            appends: timed(&metrics.append_duration),
            flushes: timed(&metrics.flush_duration),
            flush_retries: metrics.flush_retries.get(),
        }
    }
}

impl Health {
    fn of(standing: health::Standing) -> Health {
        let is_down = standing.is_stopping || standing.store.is_some() || standing.log.is_some();
        let causes = standing.faults();
        let state = match () {
            () if is_down => "down",
            () if !causes.is_empty() => "degraded",
            () => "ok",
        };
        Health { state, causes }
    }
}

/// Returns what came of each stream; the numbers of one that cannot be asked stay as they were.
fn flows(app: &App, marks: &Marks, taken: Instant, last: Option<&Look>) -> Vec<Flow> {
    let flow = |(index, door): (usize, &crate::Door)| {
        let before = last.and_then(|last| last.streams.get(index)).cloned().unwrap_or_default();
        if !marks.are_known() {
            return before;
        }
        let places = marks.places(&door.plan.stream.name);
        let ledgers = || places.iter().filter_map(|place| place.stored).map(|stored| &stored.ledger);
        let lag: u64 = places.iter().map(super::Place::lag).sum();
        // What the log has lost was received: while it lay before the store it was part of the lag.
        let received = ledgers().map(|ledger| ledger.processed + ledger.skipped).sum::<u64>() + lag;
        let mut history = before.history;
        history.push_back((taken, received));
        while history.get(1).is_some_and(|(at, _)| taken - *at >= MINUTE) {
            history.pop_front();
        }
        Flow {
            received,
            written: ledgers().map(|ledger| ledger.counted).sum(),
            duplicate: ledgers().map(|ledger| ledger.duplicate).sum(),
            dead_lettered: ledgers().map(|ledger| ledger.dead_lettered).sum(),
            deleted: ledgers().map(|ledger| ledger.deleted).sum(),
            skipped: ledgers().map(|ledger| ledger.skipped).sum(),
            lag,
            history,
        }
    };
    app.doors.iter().enumerate().map(flow).collect()
}

fn closed_to(statuses: &[RollupStatus], rollup: &str) -> Option<Timestamp> {
    let known = statuses.iter().find(|known| known.name == rollup)?;
    Some(known.closed_to).filter(|at| *at != Timestamp::NEVER)
}

/// Reads the newest windows of a rollup, as many as there are whole ones in so many cells.
async fn read_windows(app: &App, rollup: &Rollup, before: &RollupLook) -> Result<RollupLook, PortError> {
    let (from, to) = ALWAYS;
    let query = CellQuery {
        rollup: rollup.clone(),
        from,
        to,
        filters: Vec::new(),
        after: None,
        windows: Vec::new(),
        order: CellOrder::NewestFirst,
        cells_max: CELLS_MAX,
    };
    let cells = app.store.cells(&query).await?;
    let mut look = RollupLook { is_cut: cells.len() == CELLS_MAX, ..RollupLook::default() };
    let ends = cells.iter().map(|cell| cell.pane).min().zip(cells.iter().map(|cell| cell.pane).max());
    let Some((oldest, newest)) = ends else { return Ok(look) };
    look.panes = panes(&cells);
    if look.is_cut {
        // It may lack cells.
        look.panes.remove(&oldest);
    }
    let first = look.panes.keys().next().copied();
    if look.is_cut {
        add_older_panes(app, rollup, before, newest, &mut look.panes).await?;
    }
    while look.panes.len() > PANES_MAX {
        look.panes.pop_first();
    }
    // A pane with too many cells has none of its rows said, and only its total.
    let Some(first) = first else { return Ok(look) };
    let from = window::start_of(
        first.max(Timestamp(newest.0 - rollup.pane_ms * PANES_MAX as i64)),
        rollup.window_ms,
    );
    // Rows come from where every answer about windows comes from; a window too wide for one answer has none here.
    if let Ok(found) = newest::rows(app, rollup, (from, Timestamp(TIME_MAX_MS)), Vec::new()).await {
        look.rows = found.rows.into_iter().map(|row| ((row.start, row.dimensions.clone()), row)).collect();
    }
    Ok(look)
}

/// Adds the panes of a screen whose cells were not read: as they were known before, or added up by the store, once;
/// the newest one each time, since it still grows.
async fn add_older_panes(
    app: &App,
    rollup: &Rollup,
    before: &RollupLook,
    newest: Timestamp,
    panes: &mut BTreeMap<Timestamp, Pane>,
) -> Result<(), PortError> {
    for back in 0..PANES_SHOWN {
        let from = Timestamp(newest.0 - back * rollup.pane_ms);
        if panes.contains_key(&from) {
            continue;
        }
        let pane = match before.panes.get(&from) {
            Some(known) if back > 0 => *known,
            _ => {
                let to = Timestamp(from.0 + rollup.pane_ms);
                let totals = app.store.totals(&TallyQuery { rollup: rollup.clone(), from, to }).await?;
                Pane { events: totals.events, cells: totals.cells, late: 0, revision: 0 }
            }
        };
        panes.insert(from, pane);
    }
    Ok(())
}

fn panes(cells: &[CellRow]) -> BTreeMap<Timestamp, Pane> {
    let mut panes: BTreeMap<Timestamp, Pane> = BTreeMap::new();
    for cell in cells {
        let pane = panes.entry(cell.pane).or_default();
        pane.events += cell.events;
        pane.late += cell.late_count;
        pane.revision += cell.revision;
        pane.cells += 1;
    }
    panes
}
