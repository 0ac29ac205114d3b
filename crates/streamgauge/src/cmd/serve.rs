//! `streamgauge serve`: puts the parts together, says when it is ready, and stops in order: doors, partitions, loops,
//! store, log.

mod archive;
mod entry;
pub(crate) mod flags;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sg_core::metrics::ArchiveMetrics;
use sg_core::plan::Plan;
use sg_core::time::Clock;
use sg_http::{App, ArchiveView, Door, Guard, Headrooms, MetricsApi, Watchers, with_spans};
use sg_pipeline::archiver::{ArchivedStream, LineFiles};
use sg_pipeline::by_hand::{self, ByHand};
use sg_pipeline::crew::Crew;
use sg_pipeline::fleet::Fleet;
use sg_pipeline::outbox::{Outbox, Sink, StreamOutbox, Topics};
use sg_pipeline::owner::{self, Stopped};
use sg_pipeline::rebuild::Rebuilds;
use sg_pipeline::upkeep::Upkeep;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::WallClock;
use crate::cmd::{config as config_cmd, fail, print_line};
use crate::config::Settings;
use crate::exit;
use crate::generate::{Stream, demo};
use crate::wire::{self, Parts};

use archive::{archived_names, line_writers, start_archive};
use entry::Entry;
use flags::Flags;

/// Runs the server: takes events, counts them, answers questions.
///
/// Without any file it serves the built-in streams on 127.0.0.1:8080, with its data in ./streamgauge-data.
/// It prints one line when it is ready. Stop it with Ctrl-C or SIGTERM: it then finishes what it has begun;
/// a second signal stops it at once, which loses nothing either.
///
/// Examples: `streamgauge serve --demo`, `streamgauge serve --data-dir /var/lib/streamgauge --listen 127.0.0.1:9000`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Starts on a log that is damaged, or has lost its newest records, with what is left of it; says what is lost.
    #[arg(long)]
    salvage: bool,
    /// Adopts a changed definition of this rollup: drops its old cells and makes them again from the log. May be
    /// given several times; stop all other processes that write to the store before
    #[arg(long, value_name = "ROLLUP")]
    rebuild: Vec<String>,
}

/// How long the orderly stop may take before the process leaves anyway; the log has everything by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(9);
/// How long requests under way may take when the server stops.
const DOORS_TIMEOUT: Duration = Duration::from_secs(4);

/// Runs the command.
pub(crate) async fn run(args: Args) -> ExitCode {
    start_logging();
    let settings = match settings(&args.flags) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    // Before anything is made: a start that fails leaves nothing behind.
    let taken = match wire::refuse_used(&settings) {
        Ok(()) => entry::take(&settings).await,
        Err(failure) => Err(failure),
    };
    let addresses = match taken {
        Ok(addresses) => addresses,
        Err(failure) => return fail(failure.code, &failure.error),
    };
    let parts = match wire::open(&settings, clock, (args.salvage, &args.rebuild)).await {
        Ok(parts) => parts,
        Err(failure) => return fail(failure.code, &failure.error),
    };
    let entry = match entry::open(&settings, &parts, addresses).await {
        Ok(entry) => entry,
        Err(failure) => return fail(failure.code, &failure.error),
    };
    serve(&settings, (parts, entry), args.flags.demo, &args.rebuild).await
}

pub(crate) fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("STREAMGAUGE_LOG_LEVEL")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Already set only in tests.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
    );
}

fn settings(flags: &Flags) -> Result<Settings, ExitCode> {
    let read = flags.layers().map_err(|error| fail(exit::CONFIGURATION, &error))?;
    flags::resolve(&read).map_err(|errors| config_cmd::report(&errors, false))
}

/// Everything that runs.
struct Running {
    parts: Parts,
    app: Arc<App>,
    servers: TaskTracker,
    crew: TaskTracker,
    loops: TaskTracker,
    stop_servers: CancellationToken,
    stop_crew: CancellationToken,
    stop_loops: CancellationToken,
    /// Owners that stopped by themselves.
    stopped: mpsc::Receiver<Stopped>,
}

async fn serve(
    settings: &Settings,
    (mut parts, entry): (Parts, Entry),
    is_demo: bool,
    rebuild: &[String],
) -> ExitCode {
    let streams = parts.plans.iter().map(|plan| plan.name.to_string()).collect();
    let fleet = Fleet::new(streams, parts.log.log.clone(), parts.reader.clone(), parts.log.is_own);
    let fleet = Arc::new(fleet);
    let (told, stopped) = mpsc::channel(16);
    let (stop_crew, crew) = (CancellationToken::new(), TaskTracker::new());
    let (stop_loops, loops) = (CancellationToken::new(), TaskTracker::new());
    let archive_metrics = Arc::new(ArchiveMetrics::default());
    if settings.roles.archive {
        start_archive(&parts, &archive_metrics, &stop_crew, &crew, told.clone());
        // These go on until the owners have left: their last flushes may close windows.
        loops.spawn(line_writers(&parts, &archive_metrics).run(stop_loops.clone()));
    }
    if settings.roles.process {
        start_crew(settings, &parts, &fleet, &stop_crew, &crew, told);
        start_loops(settings, &parts, &stop_loops, &loops);
    }
    crew.close();
    loops.spawn(entry.guard.clone().run(stop_loops.clone()));
    let rebuilder = parts.rebuilds.clone();
    for rollup in rebuild {
        loops.spawn(rebuilder.clone().fill_up(rollup.clone(), stop_loops.clone()));
    }
    let demo = demo_switch(settings, is_demo);
    let demo_runs = demo.as_ref().map(|(switch, streams)| (switch.subscribe(), streams.clone()));
    let demo = demo.map(|(switch, _)| switch);
    let app = app(settings, (&parts, &entry.guard), fleet, (archive_metrics, demo, rebuilder));
    let app = Arc::new(app);
    let stop_servers = CancellationToken::new();
    let servers = TaskTracker::new();
    let urls = match entry::listen(settings, (&app, entry.addresses), &stop_servers, &servers) {
        Ok(urls) => urls,
        Err(failure) => return fail(failure.code, &failure.error),
    };
    if let Some(cloudwatch) = parts.cloudwatch.take() {
        loops.spawn(cloudwatch.run(app.clone(), stop_loops.clone()));
    }
    if let Some(runs) = demo_runs {
        let clock = parts.clock.clone();
        loops.spawn(demo::run(entry::own(&urls, &app), runs, stop_loops.clone(), clock));
    }
    // Before the line that says ready: whoever reads it may tell the process to stop at once.
    let (Ok(terminate), Ok(interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return fail(exit::INTERNAL, &anyhow::anyhow!("the system gives no signals"));
    };
    print_line(&format!("streamgauge ready on {}", urls.join(" and ")));
    let running = Running { parts, app, servers, crew, loops, stop_servers, stop_crew, stop_loops, stopped };
    running.until_told(terminate, interrupt).await
}

/// Returns the switch of the demo producer and what it sends, where there is one: when it was asked for, or where nobody
/// but this machine can reach the server.
fn demo_switch(settings: &Settings, is_demo: bool) -> Option<(watch::Sender<bool>, Vec<Stream>)> {
    let is_local = settings.listen.iter().all(|listen| listen.is_loopback());
    if !settings.roles.ingest || !(is_demo || is_local) {
        return None;
    }
    let names: Vec<&str> = settings.streams.iter().map(|known| known.stream.name.as_str()).collect();
    let streams = demo::streams(&names);
    let fault = if settings.listen.iter().all(|listen| listen.tls.is_some()) {
        "it sends over plain HTTP only: give it an address, such as --listen 127.0.0.1:8081,tls=off"
    } else if streams.is_empty() {
        "it has no events for any stream of this configuration, only for events and stream.events"
    } else {
        return Some((watch::Sender::new(is_demo), streams));
    };
    if is_demo {
        tracing::warn!("the demo sends nothing: {fault}");
    }
    None
}

fn start_crew(
    settings: &Settings,
    parts: &Parts,
    fleet: &Arc<Fleet>,
    stop: &CancellationToken,
    crew: &TaskTracker,
    told: mpsc::Sender<Stopped>,
) {
    let owners = owner::Settings {
        log: parts.log.log.clone(),
        store: parts.writer.clone(),
        clock: parts.clock.clone(),
        metrics: parts.metrics.clone(),
        name: process_name(),
        seed: secret(),
        flush_interval: settings.flush_interval,
        flush_events_max: settings.flush_events_max,
        tracer: (parts.tracer(), parts.store_name),
    };
    let all = Crew::new(parts.plans.clone(), owners, fleet.clone(), told.clone());
    let stop = stop.clone();
    crew.spawn(async move {
        if let Err(error) = all.run(stop).await {
            // A full channel means that the process is leaving already.
            drop(told.try_send(Stopped::Apart(error)));
        }
    });
}

fn process_name() -> String {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{node}-{}", std::process::id())
}

/// The second half of a time-ordered id is random: a secret that senders cannot know.
fn secret() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

fn start_loops(settings: &Settings, parts: &Parts, stop: &CancellationToken, loops: &TaskTracker) {
    let streams = parts.plans.iter().zip(&settings.streams);
    let outbox = Outbox {
        streams: streams.map(|(plan, stream)| stream_outbox(parts, plan, &stream.topic)).collect(),
        store: parts.writer.clone(),
        cells: parts.reader.clone(),
        metrics: parts.metrics.clone(),
    };
    let upkeep = Upkeep {
        plans: parts.plans.clone(),
        log: parts.log.log.clone(),
        store: parts.writer.clone(),
        clock: parts.clock.clone(),
        manifest: parts.manifest.clone(),
        metrics: parts.metrics.clone(),
        // Only an embedded log is trimmed, and only its own process archives it.
        archived: if settings.roles.archive { archived_names(parts) } else { Vec::new() },
    };
    loops.spawn(outbox.run(stop.clone()));
    loops.spawn(upkeep.run(stop.clone()));
}

fn stream_outbox(parts: &Parts, plan: &Arc<Plan>, topic: &str) -> StreamOutbox {
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    if let Some(outputs) = &parts.log.outputs
        && !plan.stream.outputs.has_no_topics()
    {
        let topics = Topics::new(plan.clone(), topic.to_owned(), outputs.clone(), parts.metrics.clone());
        sinks.push(Arc::new(topics));
    }
    StreamOutbox { plan: plan.clone(), sinks }
}

fn app(
    settings: &Settings,
    (parts, guard): (&Parts, &Arc<Guard>),
    fleet: Arc<Fleet>,
    (archive_metrics, demo, rebuilder): (Arc<ArchiveMetrics>, Option<watch::Sender<bool>>, Arc<Rebuilds>),
) -> App {
    let place = |archived: &ArchivedStream| (archived.stream.clone(), archived.archive.place().to_owned());
    let file = |files: &LineFiles| (files.stream.clone(), files.kind, files.archive.place().to_owned());
    let budget_bytes = settings.body_budget_bytes as usize;
    let doors = parts.plans.iter().zip(&settings.streams);
    App {
        doors: doors
            .map(|(plan, stream)| Door::new(plan.clone(), stream.paths.clone(), stream.answer))
            .collect(),
        log: parts.log.log.clone(),
        store: with_spans(parts.reader.clone(), &parts.tracer(), parts.store_name),
        manifest: parts.manifest.clone(),
        archive: ArchiveView {
            streams: parts.archive.streams.iter().map(place).collect(),
            files: parts.archive.files.iter().map(file).collect(),
            metrics: archive_metrics,
        },
        pipeline: fleet,
        picker: Arc::new(ByHand { mending: rebuilder.0.clone(), memory_max: by_hand::MEMORY_MAX }),
        rebuilder,
        clock: parts.clock.clone(),
        metrics: parts.metrics.clone(),
        more_metrics: parts.more_metrics(),
        budget: Arc::new(Semaphore::new(budget_bytes)),
        budget_bytes,
        roles: settings.roles,
        searches_log: parts.log.is_own,
        backends: (parts.log.name, parts.store_name),
        version: env!("CARGO_PKG_VERSION"),
        started_at: parts.clock.now(),
        draining: CancellationToken::new(),
        limits: entry::limits(settings),
        questions: entry::questions(settings),
        guard: guard.clone(),
        origins: settings.cors_origins.clone(),
        watchers: Watchers::default(),
        demo,
        headrooms: Headrooms::default(),
        metrics_api: MetricsApi::default(),
        tracer: parts.tracer(),
    }
}

impl Running {
    /// Waits for a signal or a failure, then stops in order.
    async fn until_told(mut self, mut terminate: Signal, mut interrupt: Signal) -> ExitCode {
        let mut failure = self.parts.log.failure.clone();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                why = failed(&mut failure) => {
                    return fail(exit::INTERNAL, &anyhow::anyhow!("the log failed: {why}"));
                }
                Some(stopped) = self.stopped.recv() => {
                    if let Some(code) = exit_code_of(&stopped) {
                        return fail(code, &stopped.into());
                    }
                }
            }
        }
        tokio::select! {
            stopped = tokio::time::timeout(STOP_TIMEOUT, self.stop()) => {
                if stopped.is_err() {
                    tracing::warn!("stopping took too long; what is not flushed is in the log and follows at the next start");
                }
                ExitCode::SUCCESS
            }
            _ = terminate.recv() => ExitCode::SUCCESS,
            _ = interrupt.recv() => ExitCode::SUCCESS,
        }
    }

    async fn stop(&self) {
        tracing::info!("stopping: no new requests");
        self.app.draining.cancel();
        self.stop_servers.cancel();
        if tokio::time::timeout(DOORS_TIMEOUT, self.servers.wait()).await.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        self.stop_crew.cancel();
        self.crew.wait().await;
        self.stop_loops.cancel();
        self.loops.close();
        self.loops.wait().await;
        if let Err(error) = self.parts.writer.sync().await {
            tracing::warn!("syncing the store: {error}; the log repeats what it may lack");
        }
        if let Err(error) = self.parts.log.log.close().await {
            tracing::warn!("closing the log: {error}");
        }
        if let Some(traces) = &self.parts.traces {
            traces.stop().await;
        }
        tracing::info!("stopped");
    }
}

/// Waits for the log's failure and returns its cause; for ever where the log does not fail.
async fn failed(failure: &mut Option<watch::Receiver<Option<String>>>) -> String {
    let Some(failure) = failure else { return std::future::pending().await };
    match failure.wait_for(Option::is_some).await {
        Ok(why) => why.clone().unwrap_or_default(),
        Err(_) => "it is gone".to_owned(),
    }
}

/// Returns how the process leaves when an owner stopped by itself; `None` when it stays, with that partition standing.
fn exit_code_of(stopped: &Stopped) -> Option<u8> {
    use sg_core::ports::ErrorKind;
    match stopped {
        Stopped::Fenced { .. } => Some(exit::ALREADY_RUNNING),
        Stopped::Apart(error) if error.kind == ErrorKind::Invalid => Some(exit::CONFIGURATION),
        Stopped::Apart(_) => Some(exit::INTERNAL),
        // Neither mends while the process runs: the operator has to look at the disk, or to salvage the log.
        Stopped::Port(error) if matches!(error.kind, ErrorKind::Closed | ErrorKind::Corrupt) => {
            Some(exit::INTERNAL)
        }
        Stopped::Asked | Stopped::Port(_) => None,
    }
}
