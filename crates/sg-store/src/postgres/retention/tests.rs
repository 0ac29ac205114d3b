//! What becomes of a piece, by its state.

use super::*;

const DAY_MS: i64 = 86_400_000;
const KEEP: Duration = Duration::from_secs(10 * 86_400);

fn check(is_full: bool, oldest_days: i64, newest_days: i64, expect: Fate) {
    let at = |days: i64| Timestamp(days * DAY_MS);
    let (oldest, newest) = (at(oldest_days), at(newest_days));
    let piece = Piece { partition: 0, number: 0, is_full, oldest, newest, kept_from: 0, share: u64::MAX };
    assert_eq!(fate(&piece, at(100), KEEP), expect, "{is_full} {oldest_days} {newest_days}");
}

#[test]
fn a_piece_goes_whole_where_it_can() {
    check(true, 80, 89, Fate::Drop);
    check(true, 80, 90, Fate::Thin);
    check(true, 89, 90, Fate::Keep);
    check(true, 90, 95, Fate::Keep);
    check(false, 80, 89, Fate::Thin);
    check(false, 90, 91, Fate::Keep);
    // One that was made for rows that never came.
    let nothing = Piece {
        partition: 0,
        number: 0,
        is_full: true,
        oldest: Timestamp(i64::MAX),
        newest: Timestamp::NEVER,
        kept_from: 0,
        share: u64::MAX,
    };
    assert_eq!(fate(&nothing, Timestamp(0), KEEP), Fate::Drop);
    assert_eq!(fate(&Piece { is_full: false, ..nothing }, Timestamp(0), KEEP), Fate::Keep);
}

#[test]
fn a_piece_goes_when_too_many_came_after_it() {
    let young = |is_full, kept_from, share| {
        let piece = Piece {
            partition: 0,
            number: 1,
            is_full,
            oldest: Timestamp(0),
            newest: Timestamp(0),
            kept_from,
            share,
        };
        fate(&piece, Timestamp(1), KEEP)
    };
    let (first, behind) = (PIECE_OFFSETS, 2 * PIECE_OFFSETS);
    assert_eq!(young(true, behind, PIECE_OFFSETS), Fate::Drop);
    assert_eq!(young(true, behind - 1, PIECE_OFFSETS), Fate::Thin);
    // One that is small beside what is kept goes as a whole before long.
    assert_eq!(young(true, behind - 1, 10 * PIECE_OFFSETS), Fate::Keep);
    assert_eq!(young(true, first, PIECE_OFFSETS), Fate::Keep);
    assert_eq!(young(false, first + 1, 10 * PIECE_OFFSETS), Fate::Thin);
}
