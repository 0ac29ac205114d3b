//! Every record is counted once in both rollups, or is a duplicate; flushes add up.

use super::*;
use crate::event;

#[test]
fn counts_add_up_over_flushes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let dimensions = SharedDimensions::default();
    let mut fold = Fold::open(&folder.path().join("counts.db"), 1_000, dimensions.clone())
        .expect("a database can be made");
    let (mut body, mut random, postcodes) = (Vec::new(), event::Random(3), event::postcodes());
    for second in 0..200 {
        event::write(&mut body, &mut random, &postcodes, 1_735_689_600_000 + second * 1_000);
        body.push(b'\n');
    }
    let events = event::read_all(&body).expect("made-up events are events");
    let records = records(&events, &dimensions);
    fold.batch(&records, 10);
    fold.flush().expect("a flush is taken");
    fold.batch(&records[..50], 10);
    fold.flush().expect("a flush is taken");
    assert_eq!(fold.totals, Totals { counted: 200, duplicates: 50 });
    for rollup in ["by_kind", "by_postcode"] {
        let sum = "select sum(events), count(distinct minute) from counts where rollup = ?";
        let row = fold.database.query_row(sum, [rollup], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(row, Ok((200_i64, 4_i64)), "{rollup}");
    }
    let position = fold.database.query_row("select log_bytes from position", [], |row| row.get(0));
    assert_eq!(position, Ok(20_i64));
}
