//! What must not be shown is not shown.

use super::redacted;

#[test]
fn secrets_are_hidden_and_nothing_else() {
    for (given, shown) in [
        (r#"v = "postgres://u:secret@h/d""#, r#""postgres://u:***@h/d""#),
        (r#"v = "postgres://u@h/d""#, r#""postgres://u@h/d""#),
        (r#"v = "kafka://h:9092""#, r#""kafka://h:9092""#),
        (
            r#"v = { "sasl.password" = "p", "sasl.username" = "u", "ssl.key.password" = "k" }"#,
            r#"{ "sasl.password" = "***", "sasl.username" = "u", "ssl.key.password" = "***" }"#,
        ),
    ] {
        let table: toml::Table = given.parse().expect("TOML");
        assert_eq!(redacted(&table["v"]), shown, "{given}");
    }
}
