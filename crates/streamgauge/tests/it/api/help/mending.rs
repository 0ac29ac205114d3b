//! What `--help` says of the commands that put things right.

use super::help;

#[test]
fn dead_letters_explains_itself() {
    insta::assert_snapshot!(help(&["dead-letters", "--help"]), @r#"
    Shows the records that could not be counted, with their reasons, and takes them in again, mended or
    not. A letter leaves the list when what stands for it is counted, and it is counted once, however
    often and by whomever it is replayed.

    Usage: streamgauge dead-letters <COMMAND>

    Commands:
      list    Counts letters by reason, with a sample of each
      show    Prints one letter as JSON
      replay  Takes letters in again
      export  Prints letters as NDJSON, newest first
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge dead-letters list
      streamgauge dead-letters replay --reason bad_number --set amount_usd=0 --dry-run
    "#);
    insta::assert_snapshot!(help(&["dead-letters", "replay", "--help"]), @r#"
    Takes letters in again

    Usage: streamgauge dead-letters replay [OPTIONS]

    Options:
          --stream <STREAM>            Only of this stream
          --reason <REASON>            Only with this reason
          --letter <PARTITION:OFFSET>  Only this letter of the stream; may be given several times
          --set <FIELD=VALUE>          Sets a member of every event before: JSON, or else a text; null
                                       takes it out
          --dry-run                    Only says what would happen
          --json                       Prints one JSON object
          --url <URL>                  The server; a key, where it wants one, is read from
                                       STREAMGAUGE_KEY, and for https:// a file of certificates to trust
                                       from SSL_CERT_FILE [default: http://127.0.0.1:8080]
      -h, --help                       Print help
    "#);
}

#[test]
fn rebuild_explains_itself() {
    insta::assert_snapshot!(help(&["rebuild", "--help"]), @r#"
    Has a running server fold the records of log and archive again, compare the cells that come of them
    with those of the store, and replace the ones that differ, while it goes on counting. No event gets
    another fate. A rollup that was added later is filled up the same way. Windows whose records are no
    longer all in log and archive are named and left as they are.

    Usage: streamgauge rebuild [OPTIONS]

    Options:
          --rollup <ROLLUP>
              Only this rollup

          --from <TIME>
              Windows from here on: a time, or -1h

          --to <TIME>
              Windows before there

          --dry-run
              Compares only; ends with 1 where a cell differs

          --json
              Prints what the server says, one JSON object a line

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge rebuild --dry-run
      streamgauge rebuild --rollup hourly_aggregations --from -1d
    "#);
}

#[test]
fn events_explains_itself() {
    insta::assert_snapshot!(help(&["events", "--help"]), @r#"
    Backs up counted events that meet conditions, and deletes them: from the raw table, from every
    rollup, and from the ledger's counted ones. A condition compares a member with a value: event_id,
    event_type, user_id, session_id, timestamp, received_at, stream, partition, offset, or
    properties.NAME, by =, !=, <, <=, >, >=, ^= (begins with) or in (…); several are joined by and.

    Usage: streamgauge events <COMMAND>

    Commands:
      export  Prints counted events of a stream
      delete  Deletes counted events
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge events export --where "user_id ^= 'test-'" --output test.ndjson
      streamgauge events delete --where "user_id ^= 'test-' and timestamp >= '-1d'" --dry-run
    "#);
    insta::assert_snapshot!(help(&["events", "delete", "--help"]), @r#"
    Deletes counted events

    Usage: streamgauge events delete [OPTIONS] --where <CONDITIONS>

    Options:
          --where <CONDITIONS>  The events that meet these conditions
          --stream <STREAM>     Only of this stream
          --dry-run             Only says what would be deleted, and which cells would change
          --json                Prints what the server says, one JSON object a line
          --url <URL>           The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and
                                for https:// a file of certificates to trust from SSL_CERT_FILE
                                [default: http://127.0.0.1:8080]
      -h, --help                Print help
    "#);
}
