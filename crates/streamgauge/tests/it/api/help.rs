//! What `--help` says of each command.

mod mending;

use super::commands::help;

#[test]
fn the_binary_explains_itself() {
    insta::assert_snapshot!(help(&["--help"]), @r#"
    Events in over HTTP, durable, counted exactly once, asked back.

    Start with `streamgauge serve --demo` and open http://127.0.0.1:8080.

    Usage: streamgauge <COMMAND>

    Commands:
      serve         Runs the server: takes events, counts them, answers questions
      simulate      Sends made-up events
      load          Measures how much a server takes
      audit         Checks that the ledger adds up, and every cell
      flush         Writes what was folded to the store, now
      dead-letters  Shows what could not be counted, and takes it in again
      rebuild       Makes cells again from the log, and puts right those that differ
      config        Prints the effective configuration with the origin of each value; secrets show as
                    ***
      healthcheck   Tells whether the server is ready
      import        Carries a data directory over to Kafka and PostgreSQL
      topics        Makes and checks the topics of a log on Kafka
      version       Prints the version
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version
    "#);
}

#[test]
fn serve_explains_itself() {
    insta::assert_snapshot!(help(&["serve", "--help"]), @r#"
    Runs the server: takes events, counts them, answers questions.

    Without any file it serves the built-in streams on 127.0.0.1:8080, with its data in
    ./streamgauge-data. It prints one line when it is ready. Stop it with Ctrl-C or SIGTERM: it then
    finishes what it has begun; a second signal stops it at once, which loses nothing either.

    Examples: `streamgauge serve --demo`, `streamgauge serve --data-dir /var/lib/streamgauge --listen
    127.0.0.1:9000`.

    Usage: streamgauge serve [OPTIONS]

    Options:
          --config <CONFIG>
              The configuration file; streamgauge.toml where it exists

          --data-dir <DIR>
              Where the log and the database live

          --listen <ADDR[,metrics=rows]>
              An address to listen on, HOST:PORT; port 0 takes a free one. May be given several times.
              With `,metrics=rows` behind it a bare /metrics answers rows there instead of Prometheus
              text; port 8000 does so by default

          --log <URL>
              The log: embedded:, embedded:PATH or kafka://HOST:PORT

          --store <URL>
              The store: sqlite:, sqlite:PATH or postgres://USER@HOST/DATABASE

          --archive <URL>
              The archive: off

          --roles <ROLES>
              What this process does: ingest,process,query,archive. Several processes share the work on
              Kafka and PostgreSQL

          --demo
              Also sends made-up events, so that there is something to see

          --salvage
              Starts on a damaged log with what can still be read of it; says what is lost

          --rebuild <ROLLUP>
              Adopts a changed definition of this rollup: drops its old cells and makes them again from
              the log. May be given several times; stop all other processes that write to the store
              before

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn simulate_explains_itself() {
    insta::assert_snapshot!(help(&["simulate", "--help"]), @r#"
    Sends made-up events to a running server.

    The same seed and start make the same events with the same ids, so a second run is all duplicates.
    Whatever was not answered is sent again with the same ids, until it is answered or the patience
    ends. With --expect the cells that must result are worked out independently and written to a file
    that `streamgauge audit` compares.

    Usage: streamgauge simulate [OPTIONS]

    Options:
          --stream <S>
              The stream to send to

              Possible values:
              - events:        Sessions of visitors: they begin, browse and end
              - stream.events: Live streams with viewers, chat and donations
              - pageviews:     Pageviews by postcode
              
              [default: events]

          --events <N>
              Different events to send [default: 100000, or --rate times --duration]

          --rate <R>
              Events per second [default: as fast as they are answered]

          --duration <D>
              Event time that the run covers, such as 24h [default: 36 ms an event, or real time with
              --rate]

          --seed <N>
              Makes other events
              
              [default: 1]

          --start <TIME>
              Time of the first event; `now` lets the run end at the time the last one is sent
              
              [default: 2025-01-01T00:00:00Z]

          --late <P>
              Share of events dated back by more than an hour, so that they are late for every window
              that ships: 2% or 0.02
              
              [default: 0]

          --duplicates <P>
              Share of events that are sent a second time some time later, on top of --events: 1% or
              0.01
              
              [default: 0]

          --disorder <D>
              Shuffles event times back by up to this, such as 20s
              
              [default: 0s]

          --batch <N>
              Events per request
              
              [default: 1000]

          --connections <N>
              Requests under way at once
              
              [default: 4]

          --patience <D>
              How long to go on sending what is not answered
              
              [default: 120s]

          --expect <FILE>
              Writes the cells that must result to this file

          --kafka <BROKERS>
              Writes plain JSON to the stream's topic on these brokers, as other producers do, instead
              of sending to a server

          --json
              Prints the summary as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge simulate --events 200000 --late 2% --duplicates 1% --expect expected.json
      streamgauge audit --expect expected.json
      streamgauge simulate --stream stream.events --rate 20 --duration 5m --start now
    "#);
}

#[test]
fn load_explains_itself() {
    insta::assert_snapshot!(help(&["load", "--help"]), @r#"
    Measures how many events a second a running server takes, and how long requests wait.

    Without --rate every connection sends its next request when the last is answered: the most the
    server takes. With --rate requests are due at fixed times, and each latency counts from the time its
    request was due, not from when a busy connection got round to sending it, so that stalls show in
    full. Every event has a random id and is dated now. At the end the server's ledger must have grown
    by exactly the events it accepted; other producers, the demo among them, disturb that check.

    Usage: streamgauge load [OPTIONS]

    Options:
          --stream <S>
              The stream to send to
              
              [default: events]

          --rate <R>
              Events per second; 0 for as fast as they are answered
              
              [default: 0]

          --connections <C>
              Connections, each with one request under way at most
              
              [default: 8]

          --batch <B>
              Events per request; 1 sends single JSON objects
              
              [default: 1000]

          --duration <D>
              How long to send
              
              [default: 10s]

          --json
              Prints the figures as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge load --duration 30s
      streamgauge load --rate 2000 --batch 1 --connections 32
      streamgauge load --stream pageviews --json
    "#);
}

#[test]
fn audit_explains_itself() {
    insta::assert_snapshot!(help(&["audit", "--help"]), @r#"
    Flushes a running server and checks that nothing was lost or counted twice: in every partition each
    record was counted, or is a duplicate, a dead letter or deleted; in every rollup each event fed is
    in a cell or accounted for. With --expect every cell must equal the file that `streamgauge simulate
    --expect` wrote, and there must be no other cell in the file's time; windows that retention has
    removed meanwhile are left out and counted. Prints one line a check; leaves with 0 when all hold,
    else 1.

    Usage: streamgauge audit [OPTIONS]

    Options:
          --expect <FILE>
              Compares every cell with this file

          --patience <D>
              How long to wait until everything in the log is processed
              
              [default: 60s]

          --json
              Prints the checks as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge audit
      streamgauge simulate --events 50000 --late 2% --expect expected.json && streamgauge audit --expect
      expected.json
    "#);
}

#[test]
fn flush_explains_itself() {
    insta::assert_snapshot!(help(&["flush", "--help"]), @r#"
    Makes a running server write everything it has folded to the store, now, instead of at the next
    interval, and prints how much that was. Needed by nobody but tests and the impatient.

    Usage: streamgauge flush [OPTIONS]

    Options:
          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      streamgauge flush --url http://127.0.0.1:8080
    "#);
}

#[test]
fn config_explains_itself() {
    insta::assert_snapshot!(help(&["config", "--help"]), @r#"
    Prints the effective configuration with the origin of each value; secrets show as ***.

    Examples: `streamgauge config`, `STREAMGAUGE_FLUSH__INTERVAL=1s streamgauge config`, `streamgauge
    config check`, `streamgauge config init > streamgauge.toml`.

    Usage: streamgauge config [OPTIONS] [COMMAND]

    Commands:
      check  Explains every error of the configuration at once; exits with 78 when there is one
      init   Prints the built-in configuration, to start a file of your own from
      help   Print this message or the help of the given subcommand(s)

    Options:
          --config <CONFIG>
              The configuration file; streamgauge.toml where it exists

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn config_check_explains_itself() {
    insta::assert_snapshot!(help(&["config", "check", "--help"]), @r#"
    Explains every error of the configuration at once; exits with 78 when there is one

    Usage: streamgauge config check [OPTIONS]

    Options:
          --config <CONFIG>  The configuration file; streamgauge.toml where it exists
      -h, --help             Print help
    "#);
}

#[test]
fn config_init_explains_itself() {
    insta::assert_snapshot!(help(&["config", "init", "--help"]), @r#"
    Prints the built-in configuration, to start a file of your own from

    Usage: streamgauge config init [OPTIONS]

    Options:
          --config <CONFIG>  The configuration file; streamgauge.toml where it exists
      -h, --help             Print help
    "#);
}

#[test]
fn healthcheck_explains_itself() {
    insta::assert_snapshot!(help(&["healthcheck", "--help"]), @r#"
    Asks a running server whether it is ready (GET /readyz). Leaves with 0 when it is, and with 1 when
    it is not or cannot be reached.

    Usage: streamgauge healthcheck [OPTIONS]

    Options:
          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Example:
      HEALTHCHECK CMD ["/streamgauge", "healthcheck"]
    "#);
}

#[test]
fn import_explains_itself() {
    insta::assert_snapshot!(help(&["import", "--help"]), @r#"
    Carries the embedded log and the SQLite store of a data directory over to Kafka and PostgreSQL.

    A server that is started on them afterwards goes on exactly where the old one stopped: the same
    counts, the same ledger, and what was a duplicate still is one. Stop the old server first, and start
    the new one when this has ended. The topics and the database must be empty or missing; the data
    directory stays as it is. A run that was interrupted is begun again with the topics and the database
    deleted. See docs/moving.md.

    Usage: streamgauge import [OPTIONS] --data-dir <DIR>

    Options:
          --data-dir <DIR>
              The data directory of the old server

          --config <CONFIG>
              The configuration file; streamgauge.toml where it exists

          --log <URL>
              The new log, kafka://HOST:PORT

          --store <URL>
              The new store, postgres://USER@HOST/DATABASE

          --json
              Prints the summary as JSON

      -h, --help
              Print help (see a summary with '-h')

    Example:
      streamgauge import --data-dir ./streamgauge-data --log kafka://127.0.0.1:9092 \
        --store postgres://streamgauge@127.0.0.1/streamgauge
    "#);
}

#[test]
fn the_version_is_told_in_two_ways() {
    assert!(help(&["version"]).starts_with("streamgauge "));
    assert_eq!(help(&["version"]), help(&["--version"]));
}
