//! The log: the directory of the embedded one and who works in it, or the topics on Kafka.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::process::{Holder, lock_holder};
use super::{Answered, Finding, Level, resting};
use crate::config::Settings;
use crate::config::settings::LogChoice;

const ABOUT: &str = "log";
/// Files that others than their owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Looks at the log that is configured; `answered` is what the running server said.
pub(super) async fn look(settings: &Settings, answered: &Answered) -> Vec<Finding> {
    match &settings.log {
        LogChoice::Embedded(dir) => {
            let mut findings = vec![directory(dir)];
            if findings[0].level != Level::Fail {
                findings.extend(resting::look(settings, dir));
            }
            findings.push(lock(&settings.data_dir, answered));
            findings
        }
        LogChoice::Kafka(brokers) => topics(settings, brokers).await,
    }
}

fn directory(dir: &Path) -> Finding {
    let shown = dir.display();
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::ok(ABOUT, format!("there is none in {shown} yet"));
        }
        Err(error) => {
            let says = format!("{shown} cannot be reached: {error}");
            return Finding::fail(ABOUT, says, format!("ls -ld {shown}"));
        }
    };
    if !metadata.is_dir() {
        return Finding::fail(ABOUT, format!("{shown} is no directory"), format!("ls -ld {shown}"));
    }
    let files = match fs::read_dir(dir) {
        Ok(files) => files.filter_map(Result::ok),
        Err(error) => {
            let mend = format!("chown -R $(id -un) {shown}");
            return Finding::fail(ABOUT, format!("{shown} cannot be read: {error}"), mend);
        }
    };
    let sizes: Vec<u64> = files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).collect();
    let told = format!("{} files of {} MiB in {shown}", sizes.len(), sizes.iter().sum::<u64>() >> 20);
    let me = rustix::process::geteuid().as_raw();
    if me != 0 && metadata.uid() != me {
        let says = format!("{told} belong to user {}, and this is user {me}", metadata.uid());
        return Finding::warn(ABOUT, says, format!("run the server as user {}", metadata.uid()));
    }
    let mode = metadata.permissions().mode();
    if mode & WRITABLE_BY_OTHERS != 0 {
        let says = format!("{told}, which others may write (mode {:o})", mode & 0o7777);
        return Finding::warn(ABOUT, says, format!("chmod go-w {shown}"));
    }
    Finding::ok(ABOUT, told)
}

fn lock(data_dir: &Path, answered: &Answered) -> Finding {
    const ABOUT: &str = "lock";
    let file = data_dir.join("lock");
    let shown = data_dir.display();
    if !file.try_exists().unwrap_or(false) {
        return Finding::ok(ABOUT, format!("no server has worked in {shown} yet"));
    }
    let answers = answered.status.as_ref().is_some_and(|status| status.log == "embedded");
    match (lock_holder(&file), answers) {
        (Holder::Process(process), true) => Finding::ok(ABOUT, format!("{process} works in {shown}")),
        (Holder::Process(process), false) => match &answered.untold {
            Some(mend) => {
                let says = format!(
                    "{process} works in {shown}, and the one that was asked does not tell whether it is that"
                );
                Finding::warn(ABOUT, says, mend)
            }
            None => {
                let says = format!("{process} works in {shown}, but does not answer where it was asked");
                Finding::warn(ABOUT, says, "name its address with --url")
            }
        },
        (Holder::Nobody, true) => {
            let says = format!("nobody works in {shown}: the server that answers works elsewhere");
            Finding::warn(ABOUT, says, "name its directory with --data-dir, or it with --url")
        }
        (Holder::Nobody, false) => Finding::ok(ABOUT, format!("nobody works in {shown}")),
        (Holder::Unknown, _) => Finding::ok(ABOUT, format!("who works in {shown} is not visible from here")),
    }
}

#[cfg(feature = "kafka")]
async fn topics(settings: &Settings, brokers: &str) -> Vec<Finding> {
    use crate::config::settings::StreamSettings;
    use crate::wire::kafka;
    /// Brokers that are up answer within milliseconds.
    const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

    let plan_of = |stream: &StreamSettings| {
        std::sync::Arc::new(sg_core::plan::Plan::new(stream.stream.clone(), &settings.rollups))
    };
    let plans: Vec<_> = settings.streams.iter().map(plan_of).collect();
    let mend = "start the brokers, or name them with --log kafka://HOST:PORT";
    match tokio::time::timeout(WAIT, kafka::check(settings, brokers, &plans)).await {
        Ok(Ok(reports)) => {
            let reached = Finding::ok(ABOUT, format!("the brokers {brokers} answer"));
            std::iter::once(reached).chain(reports.iter().map(|report| topic(report, brokers))).collect()
        }
        Ok(Err(error)) => {
            vec![Finding::fail(ABOUT, format!("the brokers {brokers} cannot be used: {error}"), mend)]
        }
        Err(_) => {
            let says = format!("the brokers {brokers} did not answer for {} s", WAIT.as_secs());
            vec![Finding::fail(ABOUT, says, mend)]
        }
    }
}

#[cfg(feature = "kafka")]
fn topic(report: &crate::wire::kafka::TopicReport, brokers: &str) -> Finding {
    use crate::wire::kafka::{TopicState, line};
    let mend = format!("streamgauge topics ensure --log kafka://{brokers}");
    match report.state {
        TopicState::Missing | TopicState::Wrong => Finding::fail(ABOUT, line(report), mend),
        _ if !report.notes.is_empty() => {
            Finding::warn(ABOUT, line(report), "kafka-configs.sh or kafka-topics.sh, as the line says")
        }
        _ => Finding::ok(ABOUT, line(report)),
    }
}

#[cfg(not(feature = "kafka"))]
#[allow(clippy::unused_async, reason = "a broker is asked with the feature")]
async fn topics(_: &Settings, brokers: &str) -> Vec<Finding> {
    let says = format!("{brokers}: this binary was built without the feature kafka");
    vec![Finding::fail(ABOUT, says, "use a binary that has it")]
}
