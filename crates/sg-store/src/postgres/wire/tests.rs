//! Values there and back through a real server, and what must not pass.

use proptest::prelude::*;
use tokio_postgres::Client;

use super::*;
use crate::postgres::tests::server;

async fn client() -> Option<Client> {
    Some(server::connect(&server::url()?).await)
}

#[tokio::test]
async fn times_go_there_and_back() {
    let Some(client) = client().await else { return };
    let cases = [
        (0, "1970-01-01 00:00:00+00"),
        (-1, "1969-12-31 23:59:59.999+00"),
        (1, "1970-01-01 00:00:00.001+00"),
        (EPOCH_MS, "2000-01-01 00:00:00+00"),
        (EPOCH_MS - 1, "1999-12-31 23:59:59.999+00"),
        (sg_core::limits::TIME_MIN_MS, "0001-01-01 00:00:00+00"),
        (sg_core::limits::TIME_MAX_MS, "9999-12-31 23:59:59.999+00"),
        (SERVER_MIN_MS, "4714-11-24 00:00:00+00 BC"),
        (SERVER_END_MS - 1, "294276-12-31 23:59:59.999+00"),
        (i64::MIN, "-infinity"),
        (i64::MAX, "infinity"),
    ];
    client.batch_execute("SET TIME ZONE 'UTC'").await.expect("the zone is known");
    for (ms, text) in cases {
        let time = Ms(Timestamp(ms));
        let row = client.query_one("SELECT $1::timestamptz::text, $1::timestamptz", &[&time]).await;
        let row = row.expect("the server holds it");
        assert_eq!((row.get::<_, &str>(0), row.get::<_, Ms>(1)), (text, time));
    }
    for ms in [SERVER_MIN_MS - 1, SERVER_END_MS, i64::MIN + 1, i64::MAX - 1] {
        let refused = client
            .query_one("SELECT $1::timestamptz", &[&Ms(Timestamp(ms))])
            .await
            .expect_err("it is outside");
        assert!(crate::postgres::error::Error::from(refused).is_bad_data(), "{ms}");
        let bound = Ms::bound(Timestamp(ms));
        client.query_one("SELECT $1::timestamptz", &[&bound]).await.expect("a bound is at infinity");
    }
    let finer = client.query_one("SELECT timestamptz '2025-01-01 00:00:00.000001+00'", &[]).await;
    assert!(finer.expect("the server has it").try_get::<_, Ms>(0).is_err(), "it is not ours");
}

async fn check(client: &Client, value: i128, scale: u32) {
    let decimal = Decimal { value, scale };
    let text = sg_core::decimal::format(value, scale);
    let sql = "SELECT $1::numeric::text, $1::numeric, $2::text::numeric";
    let row = client.query_one(sql, &[&decimal, &text]).await.expect("the server holds it");
    assert_eq!(row.get::<_, &str>(0), text, "{decimal:?}");
    assert_eq!(row.get::<_, Decimal>(1), decimal);
    assert_eq!(row.get::<_, Decimal>(2), decimal, "as the server itself writes it");
}

#[tokio::test]
async fn decimals_go_there_and_back() {
    let Some(client) = client().await else { return };
    let limit = sg_core::limits::SCALED_LIMIT;
    let powers =
        (0..38).flat_map(|power| [10_i128.pow(power), 10_i128.pow(power) - 1, 10_i128.pow(power) + 1]);
    let values: Vec<i128> =
        powers.chain([0, 1, 9_999, 10_000, 10_001, 12_340_000, limit - 1, i128::MAX]).collect();
    for value in values {
        for scale in [0, 1, 2, 3, 4, 5, 8, 12, 18, SCALE_MAX] {
            check(&client, value, scale).await;
            check(&client, -value, scale).await;
        }
    }
    for text in ["NaN", "Infinity", "1e39", "340282366920938463463374607431768211456"] {
        let row = client.query_one("SELECT $1::text::numeric", &[&text]).await.expect("the server has it");
        assert!(row.try_get::<_, Decimal>(0).is_err(), "{text}");
    }
}

#[test]
fn changes_scale_exactly_or_not_at_all() {
    let decimal = |value, scale| Decimal { value, scale };
    assert_eq!(decimal(150, 2).at_scale(2).ok(), Some(150));
    assert_eq!(decimal(150, 2).at_scale(1).ok(), Some(15));
    assert_eq!(decimal(150, 2).at_scale(4).ok(), Some(15_000));
    assert_eq!(decimal(150, 2).at_scale(0).ok(), None);
    assert_eq!(decimal(i128::MAX, 0).at_scale(1).ok(), None);
    assert_eq!(decimal(-150, 2).at_scale(1).ok(), Some(-15));
}

#[tokio::test]
async fn columns_arrive_in_order() {
    let Some(client) = client().await else { return };
    let mut numbers = Column::of(Type::INT8);
    let mut texts = Column::of(Type::TEXT);
    let mut decimals = Column::of(Type::NUMERIC);
    let mut times = Column::of(Type::TIMESTAMPTZ);
    for at in 0..3_i64 {
        numbers.push_integer(at - 1);
        texts.push_text(&"ü".repeat(at as usize));
        decimals
            .push_decimal((at != 1).then_some(Decimal { value: i128::from(at) * -105, scale: 2 }))
            .expect("it fits");
        times.push_time(Timestamp(at)).expect("it fits");
    }
    let sql = "SELECT string_agg(concat_ws('|', n, t, d, extract(epoch FROM at)), ',') \
               FROM unnest($1::int8[], $2::text[], $3::numeric[], $4::timestamptz[]) AS c(n, t, d, at)";
    let row = client.query_one(sql, &[&numbers, &texts, &decimals, &times]).await.expect("it is sound");
    assert_eq!(row.get::<_, &str>(0), "-1||0.00|0.000000,0|ü|0.001000,1|üü|-2.10|0.002000");
    let wrong = client.query_one("SELECT $1::text[]", &[&numbers]).await;
    assert!(wrong.is_err(), "a column of numbers is none of texts");
    let empty = client.query_one("SELECT cardinality($1::int8[])", &[&Column::of(Type::INT8)]).await;
    assert_eq!(empty.expect("it is sound").get::<_, i32>(0), 0);
}

proptest! {
    /// Without a server: what is written is read, and the server's own rules for digits are kept.
    #[test]
    fn any_decimal_is_read_as_it_was_written(value in any::<i128>(), shift in 0..127_u32, scale in 0..=SCALE_MAX) {
        let decimal = Decimal { value: value >> shift, scale };
        let mut out = BytesMut::new();
        decimal.put(&mut out).expect("the scale is small");
        prop_assert_eq!(Decimal::read(&out).ok(), (decimal.value != i128::MIN).then_some(decimal));
        let digits: Vec<u16> = out[8..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        prop_assert!(digits.first() != Some(&0) && digits.last() != Some(&0) && digits.iter().all(|digit| *digit < 10_000));
    }
}
