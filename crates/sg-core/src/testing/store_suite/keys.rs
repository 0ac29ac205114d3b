//! Keys: all of them comes back, what is revoked stays so, and none are too many.

use crate::key::{KEYS_MAX, KeyHash, LISTED_MS, Rates, Scopes, StoredKey};
use crate::ports::KeyAdded;
use crate::time::Timestamp;

use super::{StoreUnderTest, T0};

fn key(id: u64, name: &str, created_at: i64) -> StoredKey {
    StoredKey {
        id: format!("{id:012x}"),
        name: name.to_owned(),
        hash: KeyHash::of(&format!("secret {id}")),
        scopes: Scopes::ALL,
        origins: Vec::new(),
        rates: Rates::default(),
        created_at: Timestamp(created_at),
        expires_at: None,
        revoked_at: None,
    }
}

async fn add(store: &dyn StoreUnderTest, key: &StoredKey) -> KeyAdded {
    store.keys().add_key(key).await.expect("the store takes keys")
}

async fn all(store: &dyn StoreUnderTest) -> Vec<StoredKey> {
    store.keys().keys().await.expect("the store can be read")
}

/// Every member of a key comes back, also after the store was closed.
pub async fn keeps_keys(store: &mut dyn StoreUnderTest) {
    store.writer().prepare(&[], &[]).await.expect("nothing is to be prepared but the tables");
    assert_eq!(all(store).await, []);
    let plain = key(2, "plain", T0);
    let full = StoredKey {
        scopes: Scopes::of_names(["ingest"]).expect("it is one"),
        origins: vec!["https://a.example".to_owned(), "http://localhost:*".to_owned()],
        rates: Rates { events: Some(1), bytes: Some(4_000_000_000) },
        expires_at: Some(Timestamp(T0 + 5)),
        ..key(1, "full \"quoted\" ä", T0 + 1)
    };
    assert_eq!(add(store, &plain).await, KeyAdded::Added);
    assert_eq!(add(store, &full).await, KeyAdded::Added);
    assert!(store.keys().revoke_key(&plain.id, Timestamp(T0 + 2)).await.expect("the store takes it"));
    for id in [plain.id.as_str(), "nobody"] {
        let revoked = store.keys().revoke_key(id, Timestamp(T0 + 3)).await;
        assert!(!revoked.expect("the store answers"), "{id}");
    }
    store.reopen().await;
    let revoked = StoredKey { revoked_at: Some(Timestamp(T0 + 2)), ..plain };
    assert_eq!(all(store).await, [revoked, full]);
}

/// Two keys of a name work at once, so that one can follow the other; a third must wait for the end of one.
pub async fn holds_two_keys_of_a_name(store: &dyn StoreUnderTest) {
    store.writer().prepare(&[], &[]).await.expect("nothing is to be prepared but the tables");
    let ends = StoredKey { expires_at: Some(Timestamp(T0 + 10)), ..key(1, "n", T0) };
    for (key, expect) in [
        (ends, KeyAdded::Added),
        (key(2, "n", T0), KeyAdded::Added),
        (key(3, "n", T0 + 9), KeyAdded::NameIsFull),
        (key(4, "other", T0 + 9), KeyAdded::Added),
        (key(5, "n", T0 + 10), KeyAdded::Added),
        (key(6, "n", T0 + 10), KeyAdded::NameIsFull),
    ] {
        assert_eq!(add(store, &key).await, expect, "{key:?}");
    }
    assert!(store.keys().revoke_key(&key(5, "", 0).id, Timestamp(T0 + 11)).await.expect("it is there"));
    assert_eq!(add(store, &key(7, "n", T0 + 11)).await, KeyAdded::Added);
}

/// There is an end to keys, and those that ended long ago make room.
pub async fn keeps_no_more_keys_than_fit(store: &dyn StoreUnderTest) {
    store.writer().prepare(&[], &[]).await.expect("nothing is to be prepared but the tables");
    for id in 0..KEYS_MAX as u64 {
        assert_eq!(add(store, &key(id, &format!("n{id}"), T0)).await, KeyAdded::Added, "{id}");
    }
    let another = |at: i64| key(KEYS_MAX as u64, "another", at);
    assert_eq!(add(store, &another(T0)).await, KeyAdded::StoreIsFull);
    assert!(store.keys().revoke_key(&key(0, "", 0).id, Timestamp(T0)).await.expect("it is there"));
    assert_eq!(add(store, &another(T0 + LISTED_MS)).await, KeyAdded::StoreIsFull);
    assert_eq!(add(store, &another(T0 + LISTED_MS + 1)).await, KeyAdded::Added);
    let left = all(store).await;
    assert_eq!(left.len(), KEYS_MAX);
    assert!(left.iter().all(|key| key.revoked_at.is_none()));
}
