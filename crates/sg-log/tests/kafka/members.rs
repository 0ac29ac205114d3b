//! Several processes share the partitions; one leaves, one is lost, one must wait.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sg_core::ports::{Change, EventLog, Membership, PartitionName};
use sg_log::kafka::{KafkaLog, KafkaOptions, Topic};

use crate::ground::{Ground, PATIENCE, ground, open};

const PARTITIONS: i32 = 4;

/// A member with what it was told.
struct Told {
    member: Box<dyn Membership>,
    mine: BTreeSet<PartitionName>,
}

impl Told {
    async fn join(log: &KafkaLog) -> Told {
        let member = log.join(&["events".to_owned()]).await.expect("a log can be joined");
        Told { member, mine: BTreeSet::new() }
    }

    /// Follows changes for a while; revocations are carried out at once.
    async fn follow(&mut self, wait: Duration) -> Option<Change> {
        let change = tokio::time::timeout(wait, self.member.change()).await.ok()?;
        let change = change.expect("a member is told of changes");
        match &change {
            Change::Assigned(names) => self.mine.extend(names.iter().cloned()),
            Change::Revoked(names) | Change::Lost(names) => {
                self.mine.retain(|name| !names.contains(name));
            }
        }
        if matches!(change, Change::Revoked(_)) {
            self.member.released().await;
        }
        Some(change)
    }

    async fn until(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.mine.len() != count {
            assert!(Instant::now() < deadline, "{} partitions instead of {count}", self.mine.len());
            self.follow(Duration::from_millis(200)).await;
        }
    }
}

async fn options(ground: &Ground, session: Duration) -> KafkaOptions {
    let topic = ground.topic("events", PARTITIONS).await;
    KafkaOptions { session_timeout: session, ..ground.options(vec![topic]) }
}

async fn two_share_and_one_leaves(properties: &[(&str, &str)]) {
    let Some(ground) = ground() else { return };
    let mut options = options(&ground, Duration::from_secs(30)).await;
    options.properties =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (left, right) = (open(options.clone()), open(options));
    let mut one = Told::join(&left).await;
    one.until(4).await;
    let mut two = Told::join(&right).await;
    let deadline = Instant::now() + PATIENCE;
    while (one.mine.len(), two.mine.len()) != (2, 2) {
        assert!(Instant::now() < deadline, "{} and {}", one.mine.len(), two.mine.len());
        one.follow(Duration::from_millis(100)).await;
        two.follow(Duration::from_millis(100)).await;
    }
    assert!(one.mine.is_disjoint(&two.mine));
    let since = Instant::now();
    one.member.leave().await;
    two.until(4).await;
    assert!(since.elapsed() < Duration::from_secs(15), "others need not wait for the session's end");
    assert!(one.member.change().await.is_err(), "who left is told nothing more");
    two.member.leave().await;
    ground.clear().await;
}

#[tokio::test]
async fn two_members_share_and_one_leaves() {
    two_share_and_one_leaves(&[]).await;
}

#[tokio::test]
async fn the_brokers_own_protocol_works_too() {
    two_share_and_one_leaves(&[("group.protocol", "consumer")]).await;
}

#[tokio::test]
async fn the_eager_protocol_works_too() {
    two_share_and_one_leaves(&[("partition.assignment.strategy", "range")]).await;
}

#[tokio::test]
async fn a_revocation_waits_for_its_work() {
    let Some(ground) = ground() else { return };
    let options = options(&ground, Duration::from_secs(3)).await;
    let (left, right) = (open(options.clone()), open(options));
    let mut one = Told::join(&left).await;
    one.until(4).await;
    let mut two = Told::join(&right).await;
    let revoked = loop {
        match tokio::time::timeout(PATIENCE, one.member.change()).await {
            Ok(Ok(Change::Revoked(names))) => break names,
            Ok(Ok(_)) => {}
            other => panic!("no revocation came: {other:?}"),
        }
    };
    assert_eq!(revoked.len(), 2);
    // The other one hears within a heartbeat, which is a third of the session.
    let early = two.follow(Duration::from_secs(4)).await;
    assert_eq!(early, None, "not before the work is done");
    one.member.released().await;
    two.until(2).await;
    assert_eq!(two.mine, revoked.into_iter().collect());
    one.member.leave().await;
    two.member.leave().await;
    ground.clear().await;
}

#[tokio::test]
async fn the_group_is_told_how_far_its_own_partitions_are_flushed() {
    let Some(ground) = ground() else { return };
    let options = options(&ground, Duration::from_secs(10)).await;
    let (topic, group) = (options.topics[0].topic.clone(), options.group.clone());
    let log = open(options);
    let mut one = Told::join(&log).await;
    one.until(4).await;
    one.member
        .report(&[("events".to_owned(), 1, 0), ("others".to_owned(), 0, 5), ("events".to_owned(), 9, 5)])
        .await;
    let asked = move || {
        let mut config = ground.config();
        let asker: BaseConsumer = config.set("group.id", &group).create().expect("a consumer can be made");
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 1);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let told = asker.committed_offsets(list.clone(), PATIENCE).expect("the broker answers");
            if told.elements()[0].offset() == rdkafka::Offset::Offset(0) {
                return (true, ground);
            }
        }
        (false, ground)
    };
    let (told, ground) = tokio::task::spawn_blocking(asked).await.expect("the question ends");
    assert!(told, "the group knows the offset");
    assert_eq!(one.member.told_within(), Some(Duration::from_secs(10)));
    one.member.leave().await;
    ground.clear().await;
}

const CHILD: &str = "STREAMGAUGE_TEST_CHILD";

/// A member in a process of its own, which can be stopped and killed.
struct Process(Child);

impl Process {
    fn start(options: &KafkaOptions) -> Process {
        let child = Command::new(std::env::current_exe().expect("a test knows its own file"))
            .args(["--exact", "members::a_member_for_others_to_watch", "--nocapture"])
            .env(CHILD, format!("{} {} {}", options.brokers, options.group, options.topics[0].topic))
            .stdout(Stdio::piped())
            .spawn();
        Process(child.expect("a process can be started"))
    }

    /// Reads what the member was told until a line with the given word comes.
    fn await_line(&mut self, word: &str) -> bool {
        let Some(out) = self.0.stdout.take() else { return false };
        let mut lines = BufReader::new(out);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line.contains(word) {
                self.0.stdout = Some(lines.into_inner());
                return true;
            }
            line.clear();
        }
        false
    }
}

fn signal(id: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &id.to_string()]).status();
    assert!(sent.expect("kill is there").success());
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A part of other tests, in a process of its own; alone it does nothing.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the test that started it reads this")]
async fn a_member_for_others_to_watch() {
    let Ok(how) = std::env::var(CHILD) else { return };
    let mut how = how.split(' ').map(str::to_owned);
    let brokers = how.next().expect("a broker is named");
    let group = how.next().expect("a group is named");
    let topic = Topic { stream: "events".into(), topic: how.next().expect("a topic is named") };
    let options = KafkaOptions {
        group,
        session_timeout: Duration::from_secs(2),
        ..Ground::on(brokers).options(vec![topic])
    };
    let log = open(options);
    let mut member = log.join(&["events".to_owned()]).await.expect("a log can be joined");
    loop {
        let change = member.change().await.expect("a member is told of changes");
        let word = match &change {
            Change::Assigned(_) => "assigned",
            Change::Revoked(_) => "revoked",
            Change::Lost(_) => "lost",
        };
        println!("{word}");
        member.released().await;
    }
}

#[tokio::test]
async fn a_member_that_is_stopped_loses_its_partitions_and_is_told() {
    let Some(ground) = ground() else { return };
    let options = options(&ground, Duration::from_secs(2)).await;
    let mut process = Process::start(&options);
    assert!(process.await_line("assigned"), "the process joined");
    let log = open(options);
    let mut one = Told::join(&log).await;
    one.until(2).await;
    signal(process.0.id(), "-STOP");
    let since = Instant::now();
    one.until(4).await;
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    signal(process.0.id(), "-CONT");
    let (id, deadline) = (process.0.id(), Instant::now() + PATIENCE);
    let told = tokio::task::spawn_blocking(move || (process.await_line("lost"), process));
    let (told, process) = loop {
        if told.is_finished() {
            break told.await.expect("the reading ends");
        }
        if Instant::now() > deadline {
            signal(id, "-KILL");
        }
        // The process comes back for its share meanwhile.
        one.follow(Duration::from_millis(50)).await;
    };
    assert!(told, "who was away is told that its partitions are lost");
    one.until(2).await;
    signal(process.0.id(), "-KILL");
    one.until(4).await;
    one.member.leave().await;
    ground.clear().await;
}
