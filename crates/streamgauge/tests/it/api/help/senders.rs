//! What `--help` says of the commands that send events of their own.

use super::help;

/// Where the help of `simulate` is cut in two, each of which fits on a screen.
const SIMULATE_CUT: &str = "      --late <P>";

#[test]
fn simulate_explains_what_it_sends() {
    let told = help(&["simulate", "--help"]);
    let (what, _) = told.split_once(SIMULATE_CUT).expect("there is such an option");
    insta::assert_snapshot!(what, @r#"
    Sends made-up events to a running server.

    The same seed and start make the same events with the same ids, so a second run is all duplicates.
    Whatever was not answered is sent again with the same ids, until it is answered or the patience
    ends. With --expect the cells that must result are worked out independently and written to a file
    that `streamgauge audit` compares.

    With --form it takes the place of a producer of another system: that one's events, dated now, and
    its variables, where no flag says otherwise. A form whose producer wrote to Kafka does so where
    KAFKA_BOOTSTRAP_SERVERS is set and no --url is given. Ctrl-C and SIGTERM end a run in order.

    Usage: streamgauge simulate [OPTIONS]

    Options:
          --stream <S>
              The stream to send to

              Possible values:
              - events:        Sessions of visitors: they begin, browse and end
              - stream.events: Live streams with viewers, chat and donations
              - pageviews:     Pageviews by postcode
              
              [default: events]

          --form <FORM>
              The producer of another system to take the place of

              Possible values:
              - default:     hourly-aggregations: events at irregular intervals, until stopped
              - bulk:        hourly-aggregations: EVENT_COUNT events (100000) as fast as they are
                answered
              - simulation:  hourly-aggregations: TARGET_EVENT_COUNT events (5 million a day) spread
                over SIMULATION_DURATION_HOURS (1)
              - generator:   stream-metrics: EVENTS_PER_SEC (20) about STREAM_IDS
                (stream_1,stream_2,stream_3) and USER_COUNT users (500), until stopped
              - send-events: event-platform: 300 events of 30 users, one a request, to
                http://127.0.0.1:8004/events

          --events <N>
              Different events to send [default: 100000, or --rate times --duration]

          --rate <R>
              Events per second [default: as fast as they are answered]

          --duration <D>
              Event time that the run covers, such as 24h [default: 36 ms an event, or real time with
              --rate]; with --form, how long it goes on

          --seed <N>
              Makes other events [default: 1; with --form, another one each time]

          --users <N>
              Users there are, of stream.events and of forms that let it be chosen

          --stream-ids <IDS>
              Live streams there are, of stream.events: names with commas between, or how many

          --start <TIME>
              Time of the first event; `now` lets the run end at the time the last one is sent
              
              [default: 2025-01-01T00:00:00Z]
    "#);
}

#[test]
fn simulate_explains_how_it_sends() {
    let told = help(&["simulate", "--help"]);
    let at = told.find(SIMULATE_CUT).expect("there is such an option");
    insta::assert_snapshot!(told[at..].trim_start(), @r#"
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
              Events per request [default: 1000]

          --connections <N>
              Requests under way at once
              
              [default: 4]

          --patience <D>
              How long to go on sending what is not answered
              
              [default: 120s]

          --expect <FILE>
              Writes the cells that must result to this file

          --kafka [<BROKERS>]
              Writes plain JSON to the stream's topic on these brokers, as other producers do, instead
              of sending to a server; without a value, on those of KAFKA_BOOTSTRAP_SERVERS

          --json
              Prints the summary as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge simulate --events 200000 --late 2% --duplicates 1% --expect expected.json
      streamgauge audit --expect expected.json
      streamgauge simulate --stream stream.events --rate 20 --duration 5m --start now
      EVENT_COUNT=500000 streamgauge simulate --form bulk
      streamgauge simulate --form generator --kafka 127.0.0.1:9092
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

    With --form it takes the place of another system's load test.

    Usage: streamgauge load [OPTIONS]

    Options:
          --form <FORM>
              The load test of another system to take the place of

              Possible values:
              - event-platform: event-platform: 50 events/s for 10 s, one a request, each in the words
                of that platform
              - web-analytics:  web-analytics: 2000 events/s for 10 s, one a request, in groups of 100
                at once; compares what was accepted with what /metrics/stream tells at the start and at
                the end

          --stream <S>
              The stream to send to
              
              [default: events]

          --rate <R>
              Events per second; 0 for as fast as they are answered [default: 0, or the form's]

          --connections <C>
              Connections, each with one request under way at most [default: 8, or the form's]

          --batch <B>
              Events per request; 1 sends single JSON objects [default: 1000; 1 with --form]

          --duration <D>
              How long to send
              
              [default: 10s]

          --json
              Prints the figures as JSON

          --url <URL>
              The server; a key, where it wants one, is read from STREAMGAUGE_KEY, and for https:// a
              file of certificates to trust from SSL_CERT_FILE
              
              [default: http://127.0.0.1:8080]

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      streamgauge load --duration 30s
      streamgauge load --rate 2000 --batch 1 --connections 32
      streamgauge load --stream pageviews --json
      streamgauge load --form web-analytics
      streamgauge load --form web-analytics --rate 0
    "#);
}
