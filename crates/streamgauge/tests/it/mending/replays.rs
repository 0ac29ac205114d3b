//! Dead letters are listed with their reasons, mended, and counted once, however often and by whomever they are replayed.

use std::path::Path;

use serde_json::{Value, json};

use super::{NDJSON, ORDERS, REVENUE, flush, launch, told, total, unflushed};
use crate::harness::witness::audit;
use crate::harness::{Server, run};

const REPLAY: &str = "/v1/dead-letters/replay";
const LETTERS: u64 = 10;

/// Makes letters of orders whose amounts are no numbers, among as many good ones of 5.
fn with_letters(data_dir: &Path, toml: &str) -> Server {
    let mut before = Server::ready(&launch(data_dir, &unflushed(ORDERS)));
    let order = |id: u64| {
        let amount = if id.is_multiple_of(2) { "much" } else { "5" };
        format!(r#"{{"id":"{id}","type":"sale","user_id":"u{id}","ts":1735689600,"amount":"{amount}"}}"#)
    };
    let lines: Vec<String> = (0..2 * LETTERS).map(order).collect();
    assert_eq!(before.post("/orders", &NDJSON, lines.join("\n")).status, 202);
    before.kill9();
    let after = Server::ready(&launch(data_dir, toml));
    flush(&after);
    after
}

fn listed(server: &Server, query: &str) -> u64 {
    let page = server.get(&format!("/v1/dead-letters?{query}")).json();
    page["data"].as_array().expect("letters").len() as u64
}

fn replay(server: &Server, wish: &Value) -> Value {
    let answer = server.post(REPLAY, &[], wish.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn a_letter_is_mended_once() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = with_letters(folder.path(), &format!("{ORDERS}{REVENUE}"));
    let reasons = told(&server, &["dead-letters", "list", "--json"]);
    let reason = &reasons["reasons"][0];
    assert_eq!((&reason["reason"], &reason["waiting"]), (&"bad_number".into(), &LETTERS.into()), "{reasons}");
    assert_eq!(reason["sample"]["field"], "amount");
    let text = String::from_utf8_lossy(&server.command(&["dead-letters", "list"]).stdout).into_owned();
    assert!(text.starts_with("orders bad_number: 10 waiting, 0 replayed"), "{text}");

    let output = server.command(&["dead-letters", "replay", "--dry-run", "--json"]);
    assert_eq!(output.status.code(), Some(1), "nothing was mended: {output:?}");
    let tried: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let refused = tried["still_refused"].as_array().expect("a list");
    assert_eq!((&tried["would_accept"], refused.len() as u64), (&0.into(), LETTERS));
    assert_eq!(refused[0]["code"], "bad_number");
    let mend = ["dead-letters", "replay", "--reason", "bad_number", "--set", "amount=7", "--json"];
    let tried = told(&server, &[&mend[..], &["--dry-run"]].concat());
    assert_eq!(tried["would_accept"], LETTERS);
    assert_eq!((total(&server, "hourly", "n"), listed(&server, "replayed=false")), (10.0, LETTERS));

    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| told(&server, &mend));
        }
    });
    told(&server, &mend);
    flush(&server);
    assert_eq!((total(&server, "hourly", "n"), total(&server, "revenue", "total")), (20.0, 120.0));
    assert_eq!((listed(&server, "replayed=false"), listed(&server, "replayed=true")), (0, LETTERS));
    assert_eq!(told(&server, &mend)["accepted"], 0, "none is left");
    let letter = told(&server, &["dead-letters", "show", "orders", "0", "0"]);
    assert!(letter["replayed_at"].is_string(), "{letter}");
    let named = ["dead-letters", "replay", "--stream", "orders", "--letter", "0:0", "--json"];
    assert_eq!(told(&server, &named)["already_replayed"], 1);
    let exported = server.command(&["dead-letters", "export"]);
    assert_eq!(String::from_utf8_lossy(&exported.stdout).lines().count() as u64, LETTERS);
    let counted = server.get("/v1/events/0").json();
    assert_eq!((&counted["fate"], &counted["found"][0]["fate"]), (&"counted".into(), &"counted".into()));
    audit(&server, &[]);
}

#[test]
fn a_page_of_large_letters_ends_early_and_says_where_the_next_begins() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    // Raw rows of that size would be flushed before their time, and what is counted becomes no letter.
    let without_rows =
        ORDERS.replace("raw_table = { name = \"orders_raw\", keep = \"7d\" }", "raw_table = \"off\"");
    let mut before = Server::ready(&launch(folder.path(), &unflushed(&without_rows)));
    let text = "x".repeat(220 << 10);
    let large =
        |id: u64| format!(r#"{{"id":"{id}","type":"sale","user_id":"u","amount":"much","text":"{text}"}}"#);
    for eight in 0..3 {
        let lines: Vec<String> = (eight * 8..eight * 8 + 8).map(large).collect();
        assert_eq!(before.post("/orders", &NDJSON, lines.join("\n")).status, 202);
    }
    before.kill9();
    let server = Server::ready(&launch(folder.path(), &format!("{ORDERS}{REVENUE}")));
    flush(&server);
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = server.get(&format!("/v1/dead-letters?limit=1000{cursor}"));
        assert!(page.body.len() < 12 << 20, "{} bytes in a page", page.body.len());
        let page = page.json();
        let offsets = page["data"].as_array().expect("letters").iter().map(|letter| letter["offset"].clone());
        seen.extend(offsets.filter_map(|offset| offset.as_u64()));
        pages += 1;
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, (0..24).rev().collect::<Vec<u64>>());
    assert!(pages > 1, "24 letters of 220 KiB in one page");
}

#[test]
fn a_letter_leaves_the_list_when_its_replay_is_counted_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let toml = unflushed(&format!("{ORDERS}{REVENUE}"));
    let mut server = with_letters(folder.path(), &toml);
    let wish = json!({"stream": "orders", "edit": {"amount": 1}});
    for _ in 0..3 {
        assert_eq!(replay(&server, &wish)["accepted"], LETTERS, "nothing is flushed yet");
        assert_eq!(listed(&server, "replayed=false"), LETTERS);
        server.kill9();
        server = Server::ready(&launch(folder.path(), &toml));
    }
    flush(&server);
    assert_eq!((total(&server, "hourly", "n"), total(&server, "revenue", "total")), (20.0, 60.0));
    assert_eq!(listed(&server, "replayed=false"), 0);
    audit(&server, &[]);
}

#[test]
fn a_letter_is_counted_once_beyond_the_duplicate_window_too() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let short = ORDERS.replace("records = 1000", "records = 8");
    let toml = unflushed(&format!("{short}{REVENUE}"));
    let mut server = with_letters(folder.path(), &toml);
    let wish = json!({"edit": {"amount": 1}});
    for round in 0..3 {
        assert_eq!(replay(&server, &wish)["accepted"], LETTERS);
        let others: Vec<String> =
            (0..20).map(|id| format!(r#"{{"id":"o{round}-{id}","type":"other","ts":1735689600}}"#)).collect();
        assert_eq!(server.post("/orders", &NDJSON, others.join("\n")).status, 202);
        if round == 1 {
            server.kill9();
            server = Server::ready(&launch(folder.path(), &toml));
        }
    }
    flush(&server);
    assert_eq!(total(&server, "revenue", "total"), 60.0);
    assert_eq!(total(&server, "hourly", "n"), 80.0);
    assert_eq!(listed(&server, "replayed=false"), 0);
    audit(&server, &[]);
    server.kill9();
    let server = Server::ready(&launch(folder.path(), &toml));
    audit(&server, &[]);
    assert_eq!(total(&server, "revenue", "total"), 60.0);
}

#[test]
fn a_replay_in_vain_is_a_letter_beside_the_one_it_was_to_mend() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let toml = unflushed(&format!("{ORDERS}{REVENUE}"));
    let mut server = with_letters(folder.path(), &toml);
    let wish = json!({"stream": "orders", "letters": [[0, 0]], "edit": {"amount": 1, "price": "cheap"}});
    assert_eq!(replay(&server, &wish)["accepted"], 1);
    server.kill9();
    // What was fine at the door is none any more.
    let price = REVENUE.replace("revenue", "prices").replace("\"amount\"", "\"price\"");
    let server = Server::ready(&launch(folder.path(), &format!("{toml}{price}")));
    flush(&server);
    let page = server.get("/v1/dead-letters").json();
    let copy = &page["data"][0];
    assert_eq!((&copy["replay_of"], &copy["field"]), (&json!([0, 0]), &"price".into()), "{copy}");
    assert_eq!(
        (&page["reasons"][0]["waiting"], &page["reasons"][0]["failed_replays"]),
        (&LETTERS.into(), &1.into())
    );
    let offset = copy["offset"].as_u64().expect("an offset");
    let again = json!({"stream": "orders", "letters": [[0, offset], [0, 99]], "edit": {"price": 1}});
    let told = replay(&server, &again);
    assert_eq!((&told["accepted"], &told["not_found"]), (&0.into(), &1.into()), "{told}");
    assert!(
        told["still_refused"][0]["detail"].as_str().is_some_and(|detail| detail.contains("replay that one"))
    );
    let all = replay(&server, &json!({"edit": {"amount": 1}}));
    assert_eq!(all["accepted"], LETTERS, "originals only");
    flush(&server);
    assert_eq!((total(&server, "revenue", "total"), listed(&server, "replayed=false")), (60.0, 0));
    audit(&server, &[]);
}

#[test]
fn what_a_replay_asks_for_is_checked() {
    let server = Server::start(&[]);
    let many = json!((0..1_001).map(|at| [0, at]).collect::<Vec<_>>());
    for (wish, code) in [
        (json!({"limit": 0}), "bad_query"),
        (json!({"limit": 10_001}), "bad_query"),
        (json!({"letters": [[0, 1]]}), "bad_query"),
        (json!({"letters": [], "stream": "events"}), "bad_query"),
        (json!({"letters": many, "stream": "events"}), "bad_query"),
        (json!({"cursor": "x"}), "bad_query"),
        (json!({"dryrun": true}), "invalid_body"),
        (json!({"letters": [[0, -1]], "stream": "events"}), "invalid_body"),
        (json!([]), "invalid_body"),
    ] {
        let answer = server.post(REPLAY, &[], wish.to_string());
        assert_eq!((answer.status, &answer.json()["code"]), (400, &code.into()), "{wish}: {}", answer.text());
    }
    assert_eq!(server.post(REPLAY, &[], json!({"limit": 10_000}).to_string()).status, 200);
    let missing = server.get("/v1/dead-letters/events/0/7");
    assert_eq!((missing.status, &missing.json()["code"]), (404, &"not_found".into()));
    assert_eq!(server.get("/v1/dead-letters/events/x/7").status, 400);
    assert_eq!(server.get("/v1/dead-letters?cursor=x").status, 400);
    let output = run(&["dead-letters", "replay", "--letter", "0:1"]);
    assert_eq!(output.status.code(), Some(2), "a letter's stream is named");
}
