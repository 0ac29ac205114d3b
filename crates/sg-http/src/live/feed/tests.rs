//! What is remembered for those who come back, and what is not.

use super::*;

fn said(data: &str) -> Said {
    Said { name: "stats", data: data.to_owned() }
}

fn state_of(messages: usize) -> State {
    let mut state = State { is_running: true, run: 7, ..State::default() };
    for number in 1..=messages {
        state.remember(said(&number.to_string()));
    }
    state
}

#[test]
fn one_who_comes_back_gets_what_was_said_meanwhile() {
    let state = state_of(3);
    let data = |last_id: &str| {
        let messages = state.since(last_id)?;
        Some(messages.iter().map(|message| format!("{}={}", message.id, message.data)).collect::<Vec<_>>())
    };
    assert_eq!(data("7-1"), Some(vec!["7-2=2".to_owned(), "7-3=3".to_owned()]));
    assert_eq!(data("7-3"), Some(vec![]));
    assert_eq!(data("7-0").map(|messages| messages.len()), Some(3));
    for unknown in ["7-4", "6-1", "8-1", "7-", "-1", "7", "", "a-b", "7-99999999999999999999"] {
        assert_eq!(data(unknown), None, "{unknown}");
    }
}

#[test]
fn what_is_too_long_ago_needs_everything() {
    let state = state_of(REMEMBERED_MAX + 5);
    assert_eq!(state.remembered.len(), REMEMBERED_MAX);
    assert!(state.since("7-4").is_none());
    assert_eq!(state.since("7-5").map(|messages| messages.len()), Some(REMEMBERED_MAX));
}

#[test]
fn what_is_remembered_has_a_size() {
    let mut state = state_of(0);
    let large = "x".repeat(REMEMBERED_BYTES_MAX / 2);
    for _ in 0..2 {
        state.remember(said(&large));
    }
    assert_eq!((state.remembered.len(), state.remembered_bytes), (2, REMEMBERED_BYTES_MAX));
    state.remember(said("one more"));
    assert_eq!((state.remembered.len(), state.remembered_bytes), (2, REMEMBERED_BYTES_MAX / 2 + 8));
}
