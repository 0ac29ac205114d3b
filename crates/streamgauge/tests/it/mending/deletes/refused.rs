//! What is not deleted: because it cannot be understood, or because cells could not be right without it.

use super::super::flush;
use super::super::rebuilds::{orders, post, rows};
use super::{delete, is_sound, ledger, start};
use crate::harness::witness::{audit, open};

#[test]
fn a_window_whose_other_events_are_gone_is_named_and_nothing_is_deleted() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = start(folder.path());
    post(&server, &orders(41, 300));
    flush(&server);
    let conditions = "user_id = 'u3'";
    // As if the cell had events of which neither the raw table nor the log knows any more.
    let sql = |sign: &str| format!("UPDATE sg_cells_measures SET events = events {sign} 1 WHERE d0 = 'sale'");
    let store = open(server.data_dir());
    assert!(store.execute(&sql("+"), []).expect("the store can be damaged") > 0);
    let all = || ["hourly", "revenue", "measures", "minutes"].map(|name| rows(&server, name));
    let before = all();
    for args in [&["--dry-run"][..], &[]] {
        let (code, said, last) = delete(&server, &format!("{conditions} and event_type = 'sale'"), args);
        assert_eq!((code, &last["deleted"]), (Some(1), &0.into()), "{last}");
        let refused: Vec<_> = said.iter().filter(|line| !line["refused"].is_null()).collect();
        assert!(!refused.is_empty() && last["refused"] == refused.len(), "{refused:?} {last}");
        assert!(refused.iter().all(|line| line["refused"]["rollup"] == "measures"), "{refused:?}");
        assert_eq!(all(), before);
        assert_eq!(ledger(&server, "deleted"), 0);
    }
    // The same without that window, or once it is whole, can be deleted.
    assert_eq!(delete(&server, &format!("{conditions} and event_type = 'open'"), &[]).0, Some(0));
    assert!(store.execute(&sql("-"), []).expect("the store can be mended") > 0);
    // What the raw table has lost the log still has.
    let lost = store.execute("DELETE FROM sg_raw_orders WHERE user_id = 'u4'", []).expect("rows can be lost");
    assert!(lost > 0);
    let (code, _, last) = delete(&server, conditions, &[]);
    assert!(code == Some(0) && last["deleted"].as_u64() > Some(0), "{last}");
    audit(&server, &[]);
    is_sound(&server);
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = start(folder.path());
    post(&server, &orders(42, 20));
    for (body, status) in [
        (r#"{"where":""}"#, 400),
        (r#"{"where":"  "}"#, 400),
        (r#"{}"#, 400),
        (r#"{"where":"user_id = "}"#, 400),
        (r#"{"where":"user_id = 'u1'","all":true}"#, 400),
        (r#"{"where":"user_id = 'u1'","stream":"none"}"#, 404),
    ] {
        assert_eq!(server.post("/v1/events/delete", &[], body).status, status, "{body}");
    }
    let wrong = server.command(&["events", "delete", "--where", "user_id = 'u1' or true"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && said.contains("at character 16"), "{wrong:?}");
    for query in ["where=user_id", "format=xml", "stream=none", "limit=1"] {
        let status = server.get(&format!("/v1/events/export?{query}")).status;
        assert!([400, 404].contains(&status), "{query}: {status}");
    }
    assert_eq!(ledger(&server, "deleted"), 0);
}
