//! Folding again from anywhere gives the cells that the first time gave, and never part of one.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ports::Mark;

/// A short duplicate window, so that records leave it within a test.
const WINDOW: u64 = 12;

fn short(late: LatePolicy) -> Arc<Plan> {
    let plan = plan(late, MINUTE);
    let dedup = Dedup { records: WINDOW, horizon: Duration::from_secs(600) };
    let stream = Stream { dedup, max_future: Duration::from_secs(30), ..plan.stream.clone() };
    Arc::new(Plan::new(stream, &[plan.rollups[0].rollup.clone()]))
}

/// An id, how far its event lies from its arrival, and how long after the record before it came.
type Sent = (u8, i64, i64);

fn records(sent: &[Sent]) -> Vec<LogBatch> {
    let mut now = NOW;
    let record = |(offset, (id, behind_ms, passed_ms)): (usize, &Sent)| {
        now += passed_ms;
        record_of(offset as u64, &format!("e{id}"), Some(now + behind_ms), (now, now))
    };
    sent.iter().enumerate().map(record).collect()
}

/// Folds records again from a beginning on; `dead` are those that became dead letters.
fn again(plan: &Arc<Plan>, records: &[LogBatch], beginning: Beginning, dead: &BTreeMap<u64, Code>) -> Fold {
    let (from, to) = (Timestamp::NEVER, Timestamp(i64::MAX));
    let stretch = Stretch { beginning, from, to, removed_before: Timestamp::NEVER };
    let mut fold = Fold::again(plan.clone(), (0, 1), stretch, 8);
    let offsets: Vec<u64> = dead.keys().copied().collect();
    let mut r = match beginning {
        Beginning::Mark(mark) => mark.dedup_from.1,
        _ => Timestamp::NEVER,
    };
    fold.know(Fates { dead: dead.clone(), ..Fates::default() });
    for record in records.iter().filter(|record| record.first_offset >= beginning.reads_from()) {
        r = fold.remember(record, &offsets, r);
        fold.batch(record, u64::MAX);
    }
    fold
}

fn made(fold: &Fold) -> Vec<(i64, u64, u64)> {
    fold.made(0).0.cells.sorted().iter().map(|cell| (cell.pane.0, cell.events, cell.late)).collect()
}

proptest! {
    #[test]
    fn a_mark_is_as_good_as_the_beginning(
        sent in vec((0_u8..60, -400_000_i64..40_000, 0_i64..20_000), 2..120),
        at in 0.0_f64..1.0,
        is_diverting: bool,
    ) {
        let plan = short(if is_diverting { LatePolicy::Divert } else { LatePolicy::Correct });
        let records = records(&sent);
        let split = ((records.len() as f64 * at) as usize).clamp(1, records.len() - 1);
        let mut fold = Fold::resume(plan.clone(), (0, 1), &start(), 7);
        records[..split].iter().for_each(|record| fold.batch(record, u64::MAX));
        let before = fold.take().expect("a record was folded");
        records[split..].iter().for_each(|record| fold.batch(record, u64::MAX));
        let after = fold.take().expect("a record was folded");
        let letters = before.dead_letters.iter().chain(&after.dead_letters);
        let dead: BTreeMap<u64, Code> = letters.map(|letter| (letter.offset, letter.code)).collect();

        let first = again(&plan, &records, Beginning::First(0), &dead);
        let whole = fold_all(&plan, &records);
        prop_assert_eq!(made(&first), cells(&whole));
        let without_conflicts = |ledger: Ledger| Ledger { id_conflict: 0, ..ledger };
        prop_assert_eq!(first.made(0).1, without_conflicts(whole.ledger));

        let (offset, clock, dedup_from) = (before.end, before.clock, before.dedup_from);
        let mark = Mark { offset, clock, dedup_from, ledger: before.ledger };
        let from_mark = again(&plan, &records, Beginning::Mark(mark), &dead);
        let complete_from = from_mark.complete_from().expect("a mark is known");
        let complete = |cells: Vec<(i64, u64, u64)>| -> Vec<(i64, u64, u64)> {
            cells.into_iter().filter(|(pane, ..)| *pane >= complete_from.0).collect()
        };
        prop_assert_eq!(made(&from_mark), complete(cells(&whole)));
        prop_assert_eq!(from_mark.made(0).1, without_conflicts(after.ledger));
        prop_assert_eq!(from_mark.made(0).2.diverted as usize, after.rollups[0].late.len());
    }

    #[test]
    fn an_unknown_beginning_makes_whole_cells_or_none(
        sent in vec((0_u8..60, -60_000_i64..30_000, 0_i64..20_000), 2..120),
        at in 0.0_f64..1.0,
    ) {
        let plan = short(LatePolicy::Correct);
        let records = records(&sent);
        let whole = fold_all(&plan, &records);
        let dead: BTreeMap<u64, Code> =
            whole.dead_letters.iter().map(|letter| (letter.offset, letter.code)).collect();
        let split = (records.len() as f64 * at) as u64;
        let fold = again(&plan, &records, Beginning::Unknown(split), &dead);
        let expected: BTreeSet<(i64, u64)> =
            cells(&whole).iter().map(|(pane, events, _)| (*pane, *events)).collect();
        for (pane, events, _) in made(&fold) {
            prop_assert!(expected.contains(&(pane, events)), "{pane} {events} of {expected:?}");
        }
    }
}
