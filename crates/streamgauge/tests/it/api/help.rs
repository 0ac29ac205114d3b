//! What `--help` says of each command.

mod mending;
mod senders;

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
      smoke         Sends a few marked events through a running server and checks that they show
                    everywhere
      doctor        Looks at everything a server needs, and says what mends it
      dead-letters  Shows what could not be counted, and takes it in again
      events        Backs up counted events, and deletes them
      rebuild       Makes cells again from log and archive, and puts right those that differ
      keys          Makes, lists and revokes keys
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

          --env-file <FILE>
              A file of variables, NAME=value by line, that counts as part of the environment

          --data-dir <DIR>
              Where the log and the database live

          --listen <ADDR[,metrics=rows]>
              An address to listen on, HOST:PORT; port 0 takes a free one. May be given several times.
              With `,metrics=rows` behind it a bare /metrics answers rows there instead of Prometheus
              text; port 8000 does so by default

          --tls-cert <FILE>
              A certificate in PEM, the server's own first: every address speaks TLS, but for one with
              `,tls=off` behind it

          --tls-key <FILE>
              Its private key in PEM. Both files are looked at every few seconds, and a renewed pair is
              served

          --log <URL>
              The log: embedded:, embedded:PATH or kafka://HOST:PORT

          --store <URL>
              The store: sqlite:, sqlite:PATH or postgres://USER@HOST/DATABASE

          --archive <URL>
              The archive of raw events: off, file:FOLDER or s3://BUCKET[/PREFIX]

          --roles <ROLES>
              What this process does: ingest,process,query,archive. Several processes share the work on
              Kafka and PostgreSQL

          --demo
              Also sends made-up events, so that there is something to see, and archives into the data
              directory

          --salvage
              Starts on a log that is damaged, or has lost its newest records, with what is left of it;
              says what is lost

          --rebuild <ROLLUP>
              Adopts a changed definition of this rollup: drops its old cells and makes them again from
              the log. May be given several times; stop all other processes that write to the store
              before

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn audit_explains_itself() {
    insta::assert_snapshot!(help(&["audit", "--help"]), @r#"
    Flushes a running server and checks that nothing was lost or counted twice: in every partition each
    record was counted, or is a duplicate, a dead letter or deleted, and on an embedded log each offset
    is a record's or was skipped by a salvage; in every rollup each event fed is in a cell or accounted
    for. With --expect every cell must equal the file that `streamgauge simulate --expect` wrote, and
    there must be no other cell in the file's time; windows that retention has removed meanwhile are
    left out and counted. Prints one line a check; leaves with 0 when all hold, else 1.

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
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
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
fn smoke_explains_itself() {
    insta::assert_snapshot!(help(&["smoke", "--help"]), @r#"
    Sends a few marked events to a running server, over HTTP and, with --kafka, straight to its topics,
    and checks that every path of them works: that they are taken, that offsets advance, that they are
    counted exactly once though some are sent twice, that a sum is exact, and that each API answers in
    its shape. What the server is not configured for is left out and named.

    The events stay, with everything they are counted in: their stream_id, session, user and postcode
    are smoke-<id>, another one each time, and their type is smoke. Two of these tests at once disturb
    each other. Prints one line a check; leaves with 0 when all hold, with 1 when one does not, and with
    69 when the server cannot be reached.

    Usage: streamgauge smoke [OPTIONS]

    Options:
          --kafka [<BROKERS>]
              Also writes events straight to the topics on these brokers; without a value, on those of
              KAFKA_BOOTSTRAP_SERVERS

          --patience <D>
              How long to wait for each thing to show
              
              [default: 60s]

          --json
              Prints the checks as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge smoke
      streamgauge smoke --url http://127.0.0.1:8000 --kafka 127.0.0.1:9092
    "#);
}

#[test]
fn doctor_explains_itself() {
    insta::assert_snapshot!(help(&["doctor", "--help"]), @r#"
    Looks at ports, disk, clock, log, store and archive as the configuration names them, and at the
    server where one runs: the same files, variables and flags as for `streamgauge serve`, but for
    --salvage and --rebuild. Where nobody works in the data directory, says whether a start would refuse
    its log, and looks for damage in its closed segments, the newest first, for five seconds. Prints a
    line for each finding, with the command that mends it. Leaves with 1 when something is broken, and
    with 0 when there are warnings only. Changes nothing; a server may run meanwhile. A disk that syncs
    too fast is warned about, but that one keeps what it was given cannot be proved from here.

    Usage: streamgauge doctor [OPTIONS]

    Options:
          --config <CONFIG>
              The configuration file; streamgauge.toml where it exists

          --env-file <FILE>
              A file of variables, NAME=value by line, that counts as part of the environment

          --data-dir <DIR>
              Where the log and the database live

          --listen <ADDR[,metrics=rows]>
              An address to listen on, HOST:PORT; port 0 takes a free one. May be given several times.
              With `,metrics=rows` behind it a bare /metrics answers rows there instead of Prometheus
              text; port 8000 does so by default

          --tls-cert <FILE>
              A certificate in PEM, the server's own first: every address speaks TLS, but for one with
              `,tls=off` behind it

          --tls-key <FILE>
              Its private key in PEM. Both files are looked at every few seconds, and a renewed pair is
              served

          --log <URL>
              The log: embedded:, embedded:PATH or kafka://HOST:PORT

          --store <URL>
              The store: sqlite:, sqlite:PATH or postgres://USER@HOST/DATABASE

          --archive <URL>
              The archive of raw events: off, file:FOLDER or s3://BUCKET[/PREFIX]

          --roles <ROLES>
              What this process does: ingest,process,query,archive. Several processes share the work on
              Kafka and PostgreSQL

          --demo
              Also sends made-up events, so that there is something to see, and archives into the data
              directory

          --json
              Prints the findings as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge doctor
      streamgauge doctor --log kafka://127.0.0.1:9092 --store
      postgres://streamgauge@127.0.0.1/streamgauge
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
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
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
      keys   Prints every key with its type, default, variable and meaning, as Markdown
      help   Print this message or the help of the given subcommand(s)

    Options:
          --config <CONFIG>
              The configuration file; streamgauge.toml where it exists

          --env-file <FILE>
              A file of variables, NAME=value by line, that counts as part of the environment

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
          --env-file <FILE>  A file of variables, NAME=value by line, that counts as part of the
                             environment
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
          --env-file <FILE>  A file of variables, NAME=value by line, that counts as part of the
                             environment
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
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
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
