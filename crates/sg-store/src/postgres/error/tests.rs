//! Which failure means what, by the server's codes.

use tokio_postgres::error::SqlState;

use super::*;

#[test]
fn every_code_has_its_kind() {
    let cases = [
        ("40001", ErrorKind::Retry),
        ("40P01", ErrorKind::Retry),
        ("55P03", ErrorKind::Retry),
        ("57014", ErrorKind::Retry),
        ("57P01", ErrorKind::Retry),
        ("57P02", ErrorKind::Retry),
        ("57P03", ErrorKind::Retry),
        ("08006", ErrorKind::Retry),
        ("25006", ErrorKind::Retry),
        ("25P03", ErrorKind::Retry),
        ("53300", ErrorKind::Retry),
        ("53200", ErrorKind::Retry),
        ("53100", ErrorKind::Full),
        ("42P01", ErrorKind::Retry),
        ("3D000", ErrorKind::Retry),
        ("0A000", ErrorKind::Retry),
        ("22003", ErrorKind::Invalid),
        ("22021", ErrorKind::Invalid),
        ("23514", ErrorKind::Invalid),
        ("54000", ErrorKind::Invalid),
        ("28P01", ErrorKind::Invalid),
        ("42501", ErrorKind::Invalid),
        ("XX001", ErrorKind::Corrupt),
        ("XX002", ErrorKind::Corrupt),
        ("XX000", ErrorKind::Closed),
        ("42703", ErrorKind::Closed),
        ("58030", ErrorKind::Closed),
    ];
    for (code, kind) in cases {
        assert_eq!(kind_of_code(&SqlState::from_code(code)), kind, "{code}");
    }
}

#[test]
fn a_question_that_was_stopped_is_overdue_and_others_are_not() {
    let cases = [
        ("57014", Some(Overdue::Reading)),
        ("55P03", Some(Overdue::Waiting)),
        ("57P01", None),
        ("40P01", None),
        ("53300", None),
    ];
    for (code, expected) in cases {
        assert_eq!(overdue(&SqlState::from_code(code)), expected, "{code}");
    }
}
