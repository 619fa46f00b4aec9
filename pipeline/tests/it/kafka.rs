//! The Kafka bus against a real broker: what it promises is the broker's to keep, and no imitation shows that.

use crate::broker::Broker;
use pipeline::bus::kafka::{
    KafkaBus, KafkaEdge, KafkaError, KafkaSettings, KafkaState, create_topics, intended_topics,
};
use pipeline::bus::{Bus, Commit, Edge, Polled, Position, Start, SystemClock, WallClock};
use pipeline::error::BusError;
use pipeline::record::{Header, LogRecord, NewRecord};
use pipeline::store::{Change, MemoryStore, Pair, Space, Store, StoreError};
use pipeline::table::{TableSpec, TableWrite};
use schemas::topic::{DECISIONS, DECISIONS_LATEST, IMAGES, SESSIONS, SIGNALS};
use schemas::{TimeMs, TopicSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const OPERATOR: &str = "counter";
const COUNTS: TableSpec = TableSpec { number: 8, name: "counts", ttl_ms: None };
const PARTITIONS: u32 = 4;
/// Longest wait for anything; what takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Topics of one test, and the local copies of its process.
struct World {
    settings: KafkaSettings,
    store: Arc<dyn Store>,
}

impl World {
    fn new(broker: &Broker) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("t{}-{}.", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let settings = KafkaSettings {
            bootstrap_servers: broker.address().to_owned(),
            group: format!("{prefix}tamiz.counter+more"),
            topic_prefix: prefix,
            instance: "one".to_owned(),
            client: BTreeMap::new(),
            partitions: PARTITIONS,
            replication_factor: 1,
            transaction_timeout: Duration::from_secs(15),
            session_timeout: Duration::from_secs(6),
            step_timeout: Duration::from_secs(60),
            leave_on_stop: true,
        };
        let topics = [&SESSIONS, &SIGNALS, &DECISIONS, &DECISIONS_LATEST, &IMAGES];
        create_topics(&settings, &topics, &[OPERATOR]).expect("the topics are made");
        Self { settings, store: Arc::new(MemoryStore::default()) }
    }

    /// Returns the same cluster as a process sees it whose disk is empty.
    fn elsewhere(&self, instance: &str) -> Self {
        let settings = KafkaSettings { instance: instance.to_owned(), ..self.settings.clone() };
        Self { settings, store: Arc::new(MemoryStore::default()) }
    }

    fn join(&self, worker: usize) -> KafkaBus {
        self.join_with(worker, Arc::clone(&self.store))
    }

    fn join_with(&self, worker: usize, store: Arc<dyn Store>) -> KafkaBus {
        let state = KafkaState::open(store).expect("the store opens");
        KafkaBus::join(&self.settings, worker, vec![&SESSIONS], &[OPERATOR], &state)
            .expect("the worker joins")
    }

    fn edge(&self) -> KafkaEdge {
        KafkaEdge::connect(&self.settings).expect("the edge connects")
    }

    /// Publishes `count` records of each key, key by key in turn.
    fn publish(&self, keys: usize, count: usize) {
        let record =
            |number: usize| session(&format!("key-{}", number % keys), format!("{number}").into_bytes());
        self.edge().publish((0..keys * count).map(record).collect()).expect("records are published");
    }

    /// Returns the committed records of a topic.
    fn committed(&self, topic: &'static TopicSpec) -> Vec<LogRecord> {
        let mut tail = self.edge().tail(topic, Start::Earliest).expect("a reader opens");
        let mut records = Vec::new();
        loop {
            let next = tail.next(1_000, Duration::from_secs(2)).expect("records are read");
            if next.is_empty() {
                return records;
            }
            records.extend(next);
        }
    }

    /// Checks that each key was counted from one to `count`, each number once and in order.
    fn assert_counted(&self, keys: usize, count: usize) {
        let mut counted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for record in self.committed(&DECISIONS) {
            let key = String::from_utf8(record.key.unwrap()).unwrap();
            let number = String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
            counted.entry(key).or_default().push(number);
        }
        assert_eq!(counted.len(), keys, "keys with decisions");
        for (key, numbers) in counted {
            assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "decisions of {key}");
        }
    }
}

fn partition_of(key: &str) -> u32 {
    schemas::key::partition_of(key.as_bytes(), PARTITIONS)
}

fn session(key: &str, value: Vec<u8>) -> NewRecord {
    record(&SESSIONS, key, Some(value))
}

fn record(topic: &'static TopicSpec, key: &str, value: Option<Vec<u8>>) -> NewRecord {
    let (partition, key) = (partition_of(key), Some(key.as_bytes().to_vec()));
    // A topic with retention does not keep a record of long ago.
    NewRecord { topic, partition, key, value, headers: Vec::new(), time: SystemClock.now_ms() }
}

fn row(key: &str, value: Option<&str>, touched: TimeMs) -> TableWrite {
    let value = value.map(|value| value.as_bytes().to_vec());
    TableWrite {
        operator: OPERATOR,
        table: COUNTS.number,
        partition: partition_of(key),
        key: key.into(),
        value,
        touched,
    }
}

/// Polls until the group has given out partitions.
fn assigned(bus: &mut KafkaBus) -> Vec<u32> {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no partitions in {PATIENCE:?}");
        match bus.poll(100, POLL).expect("the poll succeeds") {
            Polled::Assigned(partitions) if !partitions.is_empty() => return partitions,
            Polled::Assigned(_) => {}
            Polled::Records(records) => assert!(records.is_empty(), "a record came before the assignment"),
        }
    }
}

/// Polls until so many records have come, of the partitions that were assigned.
fn read(bus: &mut KafkaBus, count: usize) -> Vec<LogRecord> {
    let until = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < until, "{} of {count} records in {PATIENCE:?}", records.len());
        match bus.poll(count - records.len(), POLL).expect("the poll succeeds") {
            Polled::Assigned(partitions) => panic!("the partitions became {partitions:?}"),
            Polled::Records(more) => records.extend(more),
        }
    }
    records
}

/// Returns all records that come within a time.
fn read_in(bus: &mut KafkaBus, time: Duration) -> Vec<LogRecord> {
    match bus.poll(100, time).expect("the poll succeeds") {
        Polled::Assigned(partitions) => panic!("the partitions became {partitions:?}"),
        Polled::Records(records) => records,
    }
}

/// Counts each key: the number so far is in a table, and each record makes a decision with the next.
fn count(bus: &dyn Bus, records: &[LogRecord]) -> Commit {
    let mut commit = Commit::default();
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for record in records {
        let key = record.key.clone().unwrap();
        let stored = || {
            let row = bus.get(OPERATOR, &COUNTS, record.partition, &key).expect("the table is read")?;
            String::from_utf8(row.value).unwrap().parse().ok()
        };
        let number = 1 + counts.get(&key).copied().or_else(stored).unwrap_or(0);
        counts.insert(key.clone(), number);
        next.insert(record.partition, record.offset + 1);
        let text = String::from_utf8(key).unwrap();
        commit.records.push(super::kafka::record(&DECISIONS, &text, Some(number.to_string().into_bytes())));
        commit.writes.push(row(&text, Some(&number.to_string()), record.time));
    }
    commit.positions =
        next.into_iter().map(|(partition, next)| Position { topic: &SESSIONS, partition, next }).collect();
    commit
}

/// Does one turn as the runner does it. Returns how many records were committed.
fn turn(bus: &mut KafkaBus, records_max: usize) -> usize {
    let outcome = match bus.poll(records_max, POLL) {
        Ok(Polled::Assigned(_)) => return 0,
        Ok(Polled::Records(records)) if records.is_empty() => return 0,
        Ok(Polled::Records(records)) => {
            let commit = count(bus, &records);
            bus.commit(commit).map(|()| records.len())
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(count) => count,
        Err(BusError::Abort { .. }) => {
            rewind(bus);
            0
        }
        Err(BusError::Retry { .. }) => 0,
        Err(error) => panic!("the worker ended: {}", told(&error)),
    }
}

fn rewind(bus: &mut KafkaBus) {
    let until = Instant::now() + PATIENCE;
    while let Err(error) = bus.rewind() {
        let can_retry = matches!(error, BusError::Retry { .. }) && Instant::now() < until;
        assert!(can_retry, "the worker cannot read again: {}", told(&error));
    }
}

fn told(error: &dyn Error) -> String {
    pipeline::telemetry::describe_error(error)
}

/// Returns all rows of the table, of the partitions given.
fn rows(bus: &KafkaBus, partitions: &[u32]) -> BTreeMap<String, (String, TimeMs)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let scan =
        |partition: &u32| bus.scan(OPERATOR, &COUNTS, *partition, b"", 100_000).expect("the table is read");
    partitions.iter().flat_map(scan).map(|(key, row)| (text(key), (text(row.value), row.touched))).collect()
}

const ALL: [u32; 4] = [0, 1, 2, 3];

/// A store whose writes are lost from a moment on, as those of a process that was killed just then.
struct Killed {
    store: Arc<dyn Store>,
    dead: AtomicBool,
}

impl Store for Killed {
    fn space(&self, name: &str) -> Result<Space, StoreError> {
        self.store.space(name)
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(space, key)
    }

    fn range(&self, space: Space, from: &[u8], to: &[u8], pairs_max: usize) -> Result<Vec<Pair>, StoreError> {
        self.store.range(space, from, to, pairs_max)
    }

    fn last(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.store.last(space, from, to)
    }

    fn write(&self, changes: Vec<Change>, durable: bool) -> Result<(), StoreError> {
        if self.dead.load(Ordering::SeqCst) { Ok(()) } else { self.store.write(changes, durable) }
    }
}

#[test]
fn each_record_counts_once_though_steps_fail_half_way() {
    let world = World::new(Broker::shared());
    world.publish(10, 30);
    let mut bus = world.join(0);
    assert_eq!(assigned(&mut bus), ALL);
    let (mut done, mut steps) = (0, 0);
    while done < 300 {
        match bus.poll(25, POLL).expect("the poll succeeds") {
            Polled::Assigned(partitions) => assert_eq!(partitions, ALL),
            Polled::Records(records) if records.is_empty() => {}
            Polled::Records(records) => {
                steps += 1;
                let mut commit = count(&bus, &records);
                if steps % 3 == 0 {
                    // The records before it are on their way when this one is refused.
                    commit.records.push(NewRecord {
                        partition: PARTITIONS,
                        ..super::kafka::record(&DECISIONS, "x", None)
                    });
                    let error = bus.commit(commit).expect_err("a partition that does not exist is refused");
                    assert!(matches!(error, BusError::Abort { .. }), "{}", told(&error));
                    rewind(&mut bus);
                } else {
                    bus.commit(commit).expect("the step is committed");
                    done += records.len();
                }
            }
        }
    }
    assert!(steps > 10, "the records came in {steps} steps");
    world.assert_counted(10, 30);
    assert_eq!(rows(&bus, &ALL).len(), 10);
}

#[test]
fn a_step_that_was_undone_leaves_no_row_and_its_records_come_again() {
    let world = World::new(Broker::shared());
    world.publish(3, 4);
    let mut bus = world.join(0);
    assigned(&mut bus);
    let first = read(&mut bus, 12);
    let of_first = count(&bus, &first[..5]);
    bus.commit(of_first).expect("the step is committed");
    let before = rows(&bus, &ALL);
    rewind(&mut bus);
    assert!(matches!(bus.poll(100, POLL), Ok(Polled::Assigned(partitions)) if partitions == ALL));
    let again = read(&mut bus, 7);
    let place = |record: &LogRecord| (record.partition, record.offset);
    let left: BTreeSet<_> = first[5..].iter().map(place).collect();
    assert_eq!(again.iter().map(place).collect::<BTreeSet<_>>(), left, "what was not committed comes again");
    assert_eq!(rows(&bus, &ALL), before, "and the tables are as they were");
}

#[test]
fn a_zombie_of_the_same_name_is_fenced() {
    let world = World::new(Broker::shared());
    world.publish(4, 2);
    let mut zombie = world.join(0);
    assigned(&mut zombie);
    let records = read(&mut zombie, 8);
    let commit = count(&zombie, &records);
    let mut bus = world.join(0);
    let error = zombie.commit(commit).expect_err("the zombie is fenced");
    assert!(matches!(error, BusError::Fatal { .. }), "{}", told(&error));
    assert_eq!(assigned(&mut bus), ALL);
    let mut done = 0;
    while done < 8 {
        done += turn(&mut bus, 100);
    }
    world.assert_counted(4, 2);
    let until = Instant::now() + PATIENCE;
    while zombie.poll(1, POLL).is_ok() {
        assert!(Instant::now() < until, "the zombie is not told that it is one");
    }
}

#[test]
fn a_worker_whose_partitions_have_gone_commits_nothing() {
    let mut world = World::new(Broker::shared());
    world.settings.step_timeout = world.settings.session_timeout;
    world.publish(8, 1);
    let mut slow = world.join(0);
    assigned(&mut slow);
    let records = read(&mut slow, 8);
    let commit = count(&slow, &records);
    // The other joins, and the group waits for the slow worker no longer than a step may take.
    let other_world = world.elsewhere("two");
    let mut other = other_world.join(0);
    let mut done = 0;
    let until = Instant::now() + PATIENCE;
    while done < 8 {
        assert!(Instant::now() < until, "{done} of 8 records");
        done += turn(&mut other, 100);
    }
    let error = slow.commit(commit).expect_err("the step is refused");
    assert!(matches!(error, BusError::Abort { .. }), "{}", told(&error));
    rewind(&mut slow);
    // It takes part again, and with it the work goes on.
    world.publish(8, 1);
    let mut partitions = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    while done < 16 {
        assert!(Instant::now() < until, "{done} of 16 records");
        done += turn(&mut other, 100);
        match slow.poll(100, POLL).expect("the poll succeeds") {
            Polled::Assigned(mine) => partitions = mine.into_iter().collect(),
            Polled::Records(records) if records.is_empty() => {}
            Polled::Records(records) => {
                assert!(records.iter().all(|record| partitions.contains(&record.partition)));
                let commit = count(&slow, &records);
                match slow.commit(commit) {
                    Ok(()) => done += records.len(),
                    Err(error) => {
                        assert!(matches!(error, BusError::Abort { .. }), "{}", told(&error));
                        rewind(&mut slow);
                    }
                }
            }
        }
    }
    world.assert_counted(8, 2);
}

#[test]
fn rows_that_a_killed_worker_had_committed_are_restored() {
    let world = World::new(Broker::shared());
    let killed = Arc::new(Killed { store: Arc::clone(&world.store), dead: AtomicBool::new(false) });
    let mut bus = world.join_with(0, Arc::clone(&killed) as Arc<dyn Store>);
    assigned(&mut bus);
    let writes = vec![row("kept", Some("1"), 0), row("gone", Some("1"), -5), row("changed", Some("1"), 7)];
    bus.commit(Commit { writes, ..Commit::default() }).expect("the step is committed");
    killed.dead.store(true, Ordering::SeqCst);
    let writes =
        vec![row("gone", None, 8), row("changed", Some("2"), 8), row("empty", Some(""), TimeMs::MIN)];
    bus.commit(Commit { writes, ..Commit::default() }).expect("the step is committed");
    let stale = rows(&bus, &ALL);
    assert_eq!(stale["changed"], ("1".to_owned(), 7), "the copy lacks the second step");
    drop(bus);

    let mut bus = world.join(0);
    assert_eq!(assigned(&mut bus), ALL);
    let expected = [("changed", ("2", 8)), ("empty", ("", TimeMs::MIN)), ("kept", ("1", 0))];
    let expected = expected.map(|(key, (value, touched))| (key.to_owned(), (value.to_owned(), touched)));
    assert_eq!(rows(&bus, &ALL), BTreeMap::from(expected));
}

#[test]
fn rows_of_an_undone_step_are_not_restored() {
    let world = World::new(Broker::shared());
    let mut bus = world.join(0);
    assigned(&mut bus);
    bus.commit(Commit { writes: vec![row("a", Some("1"), 1)], ..Commit::default() })
        .expect("the step is committed");
    let records = vec![NewRecord { partition: PARTITIONS, ..record(&DECISIONS, "x", None) }];
    // Both are in the changelog; only the first was committed.
    let writes = vec![row("a", Some("2"), 2), row("b", Some("2"), 2)];
    bus.commit(Commit { records, writes, ..Commit::default() }).expect_err("the step is undone");
    drop(bus);
    let world = world.elsewhere("one");
    let mut bus = world.join(0);
    assigned(&mut bus);
    assert_eq!(rows(&bus, &ALL), BTreeMap::from([("a".to_owned(), ("1".to_owned(), 1))]));
}

#[test]
fn a_wiped_copy_is_restored_whole() {
    let world = World::new(Broker::shared());
    world.publish(200, 3);
    let mut bus = world.join(0);
    assigned(&mut bus);
    let mut done = 0;
    while done < 600 {
        done += turn(&mut bus, 50);
    }
    bus.commit(Commit { writes: vec![row("key-7", None, 9)], ..Commit::default() })
        .expect("the step is committed");
    let before = rows(&bus, &ALL);
    assert_eq!(before.len(), 199);
    bus.leave();
    let world = world.elsewhere("one");
    let mut bus = world.join(0);
    assert_eq!(assigned(&mut bus), ALL);
    assert_eq!(rows(&bus, &ALL), before);
}

#[test]
fn a_copy_that_is_ahead_of_its_changelog_is_thrown_away() {
    let world = World::new(Broker::shared());
    let mut bus = world.join(0);
    assigned(&mut bus);
    bus.commit(Commit { writes: vec![row("a", Some("1"), 1)], ..Commit::default() })
        .expect("the step is committed");
    bus.leave();
    // The same copy, and a cluster whose changelogs are empty.
    let mut other = World::new(Broker::shared());
    other.store = Arc::clone(&world.store);
    let mut bus = other.join(0);
    assigned(&mut bus);
    assert_eq!(rows(&bus, &ALL), BTreeMap::new());
}

#[test]
fn a_restore_waits_for_the_transaction_of_a_dead_worker() {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let world = World::new(Broker::shared());
    let dead: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &world.settings.bootstrap_servers)
        .set("transactional.id", format!("{}dead", world.settings.topic_prefix))
        .create()
        .expect("a producer");
    dead.init_transactions(PATIENCE).expect("a producer with transactions");
    dead.begin_transaction().expect("a transaction");
    let topic = world.settings.topic("counter.changelog");
    let key = [&[COUNTS.number], b"late".as_slice()].concat();
    let value = [7_i64.to_be_bytes().as_slice(), b"1"].concat();
    let partition = i32::try_from(partition_of("late")).unwrap();
    let sent = dead.send(BaseRecord::to(&topic).partition(partition).key(&key).payload(&value));
    sent.map_err(|(error, _)| error).expect("a record is sent");
    dead.flush(PATIENCE).expect("the record is in the log");

    let mut bus = world.join(0);
    let began = Instant::now();
    let open = Duration::from_secs(2);
    let ending = std::thread::spawn(move || {
        std::thread::sleep(open);
        dead.commit_transaction(PATIENCE).expect("the transaction ends");
    });
    assert_eq!(assigned(&mut bus), ALL);
    assert!(began.elapsed() >= open, "the worker had its tables after {:?}", began.elapsed());
    assert_eq!(rows(&bus, &ALL), BTreeMap::from([("late".to_owned(), ("1".to_owned(), 7))]));
    ending.join().expect("the transaction was ended");
}

#[test]
fn a_worker_begins_after_what_a_dead_one_is_found_to_have_committed() {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::{BaseProducer, Producer};
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};
    let world = World::new(Broker::shared());
    world.publish(1, 5);
    let partition = partition_of("key-0");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &world.settings.bootstrap_servers).set("group.id", &world.settings.group);
    let reader: BaseConsumer = config.create().expect("a consumer");
    config.set("transactional.id", format!("{}dead", world.settings.topic_prefix));
    let dead: BaseProducer = config.create().expect("a producer");
    dead.init_transactions(PATIENCE).expect("a producer with transactions");
    dead.begin_transaction().expect("a transaction");
    let mut next = TopicPartitionList::new();
    let signed = i32::try_from(partition).unwrap();
    next.add_partition_offset(&world.settings.topic(SESSIONS.name), signed, Offset::Offset(3)).unwrap();
    let metadata = reader.group_metadata().expect("a group");
    dead.send_offsets_to_transaction(&next, &metadata, PATIENCE).expect("offsets are sent");

    let mut bus = world.join(0);
    let began = Instant::now();
    // Longer than a worker waits before it asks whether it hides the offsets itself.
    let open = Duration::from_secs(4);
    let ending = std::thread::spawn(move || {
        std::thread::sleep(open);
        dead.commit_transaction(PATIENCE).expect("the transaction ends");
    });
    assert_eq!(assigned(&mut bus), ALL);
    assert!(began.elapsed() >= open, "the worker began after {:?}", began.elapsed());
    ending.join().expect("the transaction was ended");
    let offsets: Vec<u64> = read(&mut bus, 2).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [3, 4]);
    let records = read_in(&mut bus, Duration::from_secs(1));
    assert!(records.is_empty(), "more records came: {records:?}");
}

#[test]
fn two_workers_share_the_partitions_and_count_once() {
    let world = World::new(Broker::shared());
    world.publish(20, 20);
    let mut one = world.join(0);
    assert_eq!(assigned(&mut one), ALL);
    let mut done = 0;
    while done < 100 {
        done += turn(&mut one, 20);
    }
    // The second has the same process's copies, the third another's.
    let state = KafkaState::open(Arc::clone(&world.store)).expect("the store opens");
    let join = |worker| {
        KafkaBus::join(&world.settings, worker, vec![&SESSIONS], &[OPERATOR], &state)
            .expect("the worker joins")
    };
    drop(one);
    let other_world = world.elsewhere("two");
    let mut workers = vec![(join(0), 0), (join(1), 0), (other_world.join(0), 0)];
    let until = Instant::now() + PATIENCE;
    while done < 400 || workers.iter().any(|(_, own)| *own == 0) {
        assert!(
            Instant::now() < until,
            "{done} of 400 records, {:?}",
            workers.iter().map(|(_, own)| own).collect::<Vec<_>>()
        );
        for (bus, own) in &mut workers {
            // Small steps: there is work left when the last has its partitions.
            let now = turn(bus, 4);
            *own += now;
            done += now;
        }
        if done >= 400 {
            break;
        }
    }
    world.assert_counted(20, 20);
    // One goes, and the others have its partitions at once.
    let (mut leaver, _) = workers.remove(0);
    leaver.leave();
    let began = Instant::now();
    let mut shares = vec![BTreeSet::new(); 2];
    while shares.iter().map(BTreeSet::len).sum::<usize>() < 4 {
        assert!(began.elapsed() < Duration::from_secs(5), "the partitions are {shares:?}");
        for ((bus, _), share) in workers.iter_mut().zip(&mut shares) {
            if let Polled::Assigned(partitions) = bus.poll(1, POLL).expect("the poll succeeds") {
                *share = partitions.into_iter().collect();
            }
        }
    }
    world.publish(20, 1);
    let mut more = 0;
    while more < 20 {
        assert!(began.elapsed() < PATIENCE, "{more} of 20 records");
        more += workers.iter_mut().map(|(bus, _)| turn(bus, 100)).sum::<usize>();
    }
    world.assert_counted(20, 21);
}

#[test]
fn a_restarted_worker_has_its_partitions_back_at_once_and_nobody_else_notices() {
    let world = World::new(Broker::shared());
    let other_world = world.elsewhere("two");
    let (mut one, mut other) = (world.join(0), other_world.join(0));
    let until = Instant::now() + PATIENCE;
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    while of_one.len() != 2 || of_other.len() != 2 {
        assert!(Instant::now() < until, "the shares are {of_one:?} and {of_other:?}");
        for (bus, share) in [(&mut one, &mut of_one), (&mut other, &mut of_other)] {
            if let Polled::Assigned(partitions) = bus.poll(1, POLL).expect("the poll succeeds") {
                *share = partitions;
            }
        }
    }
    // The zombie lives on, as a worker does for the group that was killed a moment ago.
    for zombie_lives in [false, true] {
        if zombie_lives {
            std::mem::forget(one);
        } else {
            drop(one);
        }
        let began = Instant::now();
        one = world.join(0);
        assert_eq!(assigned(&mut one), of_one);
        assert!(began.elapsed() < Duration::from_secs(3), "the partitions came after {:?}", began.elapsed());
        match other.poll(1, POLL).expect("the poll succeeds") {
            Polled::Assigned(partitions) => panic!("the other's partitions became {partitions:?}"),
            Polled::Records(records) => assert!(records.is_empty()),
        }
    }
}

#[test]
fn a_broker_that_is_killed_in_the_middle_of_steps_costs_time_and_nothing_else() {
    let broker = Broker::start("killed");
    let world = World::new(&broker);
    world.publish(10, 60);
    let mut bus = world.join(0);
    assigned(&mut bus);
    let mut done = 0;
    // The first time the broker is gone before the step begins, then at some moment within.
    for after in [0, 3, 7] {
        let records = loop {
            match bus.poll(50, POLL) {
                Ok(Polled::Records(records)) if !records.is_empty() => break records,
                Ok(_) | Err(BusError::Retry { .. }) => {}
                Err(error) => panic!("the worker ended: {}", told(&error)),
            }
        };
        let commit = count(&bus, &records);
        let outcome = std::thread::scope(|scope| {
            if after == 0 {
                broker.kill();
            }
            scope.spawn(|| {
                if after > 0 {
                    std::thread::sleep(Duration::from_millis(after));
                    broker.kill();
                }
                broker.restart();
            });
            bus.commit(commit)
        });
        match outcome {
            Ok(()) => done += records.len(),
            Err(error) => {
                assert!(matches!(error, BusError::Abort { .. }), "{}", told(&error));
                rewind(&mut bus);
            }
        }
    }
    let until = Instant::now() + PATIENCE;
    while done < 600 {
        assert!(Instant::now() < until, "{done} of 600 records");
        done += turn(&mut bus, 50);
    }
    world.assert_counted(10, 60);
    // Without a broker a worker ends all the same, and soon.
    broker.kill();
    let began = Instant::now();
    bus.leave();
    drop(bus);
    assert!(began.elapsed() < Duration::from_secs(10), "the worker ended after {:?}", began.elapsed());
}

#[test]
fn a_record_that_no_broker_takes_ends_the_worker_and_names_its_topic() {
    let world = World::new(Broker::shared());
    let mut bus = world.join(0);
    assigned(&mut bus);
    let name = world.settings.topic(DECISIONS.name);
    for bytes in [2_000_000, 20_000_000] {
        let records = vec![record(&DECISIONS, "a", Some(vec![7; bytes]))];
        let error = world.edge().publish(records.clone()).expect_err("the record is refused");
        assert!(matches!(error, BusError::Retry { .. }) && told(&error).contains(&name), "{}", told(&error));
        let error = bus.commit(Commit { records, ..Commit::default() }).expect_err("the record is refused");
        assert!(matches!(error, BusError::Fatal { .. }), "{}", told(&error));
        assert!(told(&error).contains(&format!("topic {name} is too large")), "{}", told(&error));
    }
    assert!(world.committed(&DECISIONS).is_empty());
}

#[test]
fn records_keep_all_they_have() {
    let world = World::new(Broker::shared());
    let mut bus = world.join(0);
    assigned(&mut bus);
    let headers =
        vec![Header::new("tenant", "ñandú"), Header::new("empty", ""), Header::new("tenant", vec![0, 255])];
    let far = [0, 4_102_444_800_000].map(|time| NewRecord { time, ..record(&DECISIONS_LATEST, "a", None) });
    let near = [
        NewRecord { key: None, ..record(&DECISIONS, "a", Some(Vec::new())) },
        NewRecord { key: Some(Vec::new()), ..record(&DECISIONS, "a", None) },
        NewRecord { headers, ..record(&DECISIONS, "a", Some(vec![0, 1, 2])) },
    ];
    let records = near.iter().chain(&far).cloned().collect();
    bus.commit(Commit { records, ..Commit::default() }).expect("the step is committed");
    let found = [world.committed(&DECISIONS), world.committed(&DECISIONS_LATEST)].concat();
    assert_eq!(found.len(), 5);
    for (found, record) in found.iter().zip(near.iter().chain(&far)) {
        assert_eq!((found.topic.name, found.partition), (record.topic.name, record.partition));
        assert_eq!((&found.key, &found.value, &found.headers), (&record.key, &record.value, &record.headers));
        assert_eq!(found.time, record.time.max(1));
    }
    // Topics that the broker stamps have its time.
    world.publish(1, 1);
    let time = read(&mut bus, 1)[0].time;
    assert!(time > 1_700_000_000_000, "the record was stamped {time}");
    // An image as large as the topic takes.
    let image = vec![7; IMAGES.record_bytes_max as usize];
    world.edge().publish(vec![record(&IMAGES, "a", Some(image.clone()))]).expect("the image is published");
    let found = world.committed(&IMAGES);
    assert!(found.len() == 1 && found[0].value.as_ref() == Some(&image));
}

#[test]
fn a_header_whose_name_is_no_text_stops_nobody() {
    let world = World::new(Broker::shared());
    let mut bus = world.join(0);
    assigned(&mut bus);
    let topic = world.settings.topic(SESSIONS.name);
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", &world.settings.bootstrap_servers, "-t", &topic, "-p", "2", "-H"])
        .arg(OsStr::from_bytes(b"\xff\xfe=v"));
    let mut kcat =
        kcat.stdin(std::process::Stdio::piped()).spawn().expect("kcat runs; script/setup test installs it");
    std::io::Write::write_all(&mut kcat.stdin.take().unwrap(), b"hostile\n").expect("kcat reads");
    assert!(kcat.wait().expect("kcat ends").success());
    let records = read(&mut bus, 1);
    assert_eq!(records[0].value.as_deref(), Some(b"hostile".as_slice()));
    assert_eq!(records[0].headers, [Header::new("\u{fffd}\u{fffd}", "v")]);
}

#[test]
fn compacted_topics_are_read_and_searched_by_key() {
    let world = World::new(Broker::shared());
    let edge = world.edge();
    let write = |key, value: Option<&str>| {
        record(&DECISIONS_LATEST, key, value.map(|value| value.as_bytes().to_vec()))
    };
    let records = vec![
        write("a", Some("1")),
        write("b", Some("1")),
        write("c", Some("1")),
        write("a", Some("2")),
        write("b", None),
    ];
    edge.publish(records).expect("records are published");
    let value = |record: LogRecord| String::from_utf8(record.value.unwrap()).unwrap();
    let find = |key: &str| {
        edge.find_compacted(&DECISIONS_LATEST, key.as_bytes()).expect("the topic is read").map(value)
    };
    assert_eq!(
        (find("a"), find("b"), find("c"), find("d")),
        (Some("2".to_owned()), None, Some("1".to_owned()), None)
    );
    let mut all: Vec<String> =
        edge.read_compacted(&DECISIONS_LATEST).expect("the topic is read").into_iter().map(value).collect();
    all.sort();
    assert_eq!(all, ["1", "2"]);
    let bus = world.join(0);
    assert_eq!(bus.read_compacted(&DECISIONS_LATEST).expect("the topic is read").len(), 2);
}

#[test]
fn a_control_change_is_in_all_partitions_or_in_none() {
    let world = World::new(Broker::shared());
    let edge = world.edge();
    edge.publish(vec![record(&SIGNALS, "before", None)]).expect("records are published");
    let mut tail = edge.tail(&SIGNALS, Start::Latest).expect("a reader opens");
    let marker =
        |partition| NewRecord { partition, key: None, ..record(&SIGNALS, "", Some(b"marker".to_vec())) };
    let markers = || (0..PARTITIONS).map(marker).collect::<Vec<_>>();
    edge.publish_atomically((0..=PARTITIONS).map(marker).collect())
        .expect_err("one partition does not exist");
    edge.publish_atomically(markers()).expect("the markers are published");
    // A second writer takes over, and the first takes over again.
    let other = world.edge();
    other.publish_atomically(markers()).expect("the markers are published");
    let error = edge.publish_atomically(markers()).expect_err("the writer was fenced");
    assert!(matches!(error, BusError::Retry { .. }), "{}", told(&error));
    edge.publish_atomically(markers()).expect("a new writer publishes");
    let large = NewRecord { value: Some(vec![7; 2_000_000]), ..marker(0) };
    let error = edge.publish_atomically(vec![large]).expect_err("the record is refused");
    assert!(matches!(error, BusError::Fatal { .. }), "{}", told(&error));
    let mut found = Vec::new();
    let until = Instant::now() + PATIENCE;
    while found.len() < 12 {
        assert!(Instant::now() < until, "{} of 12 markers", found.len());
        found.extend(tail.next(100, POLL).expect("records are read"));
    }
    found.extend(tail.next(100, Duration::from_secs(1)).expect("records are read"));
    for partition in 0..PARTITIONS {
        assert_eq!(
            found.iter().filter(|record| record.partition == partition).count(),
            3,
            "markers in {partition}"
        );
    }
}

#[test]
fn lag_counts_down_to_nothing_over_markers_too() {
    let world = World::new(Broker::shared());
    let records =
        |count: usize| (0..count).map(|number| session(&format!("key-{}", number % 40), vec![1])).collect();
    let edge = world.edge();
    edge.publish(records(160)).expect("records are published");
    edge.publish_atomically(records(40)).expect("records are published");
    let mut bus = world.join(0);
    assigned(&mut bus);
    let lag =
        |bus: &KafkaBus| ALL.iter().map(|partition| bus.lag(&SESSIONS, *partition)).sum::<Option<u64>>();
    let until = Instant::now() + PATIENCE;
    let step = |bus: &mut KafkaBus, records_max: usize| {
        assert!(Instant::now() < until, "the lag is {:?}", lag(bus));
        let Polled::Records(records) = bus.poll(records_max, POLL).expect("the poll succeeds") else {
            panic!("a rebalance")
        };
        records.len() as u64
    };
    // The library counts once a second. Each partition ends with a marker.
    let mut done = 0;
    while lag(&bus).is_none_or(|lag| lag == 0) {
        done += step(&mut bus, 1);
        std::thread::sleep(Duration::from_millis(10));
    }
    let first = lag(&bus).expect("the lag is known");
    assert!((204 - done..=204).contains(&first), "the lag was {first} when {done} records had been read");
    while lag(&bus) != Some(0) {
        done += step(&mut bus, 100);
    }
    assert_eq!(done, 200);
}

#[test]
fn topics_are_made_once_and_differences_are_told() {
    let world = World::new(Broker::shared());
    let topics = [&SESSIONS, &SIGNALS, &DECISIONS, &DECISIONS_LATEST, &IMAGES];
    let report = create_topics(&world.settings, &topics, &[OPERATOR]).expect("the topics are there");
    assert!(report.created.is_empty(), "{report:?}");
    let names: Vec<String> =
        intended_topics(&world.settings, &topics, &[OPERATOR]).into_iter().map(|topic| topic.name).collect();
    assert_eq!(report.existed, names);

    let other = KafkaSettings { partitions: 7, ..world.settings.clone() };
    let Err(KafkaError::Topics(problems)) = create_topics(&other, &[&SESSIONS], &["another"]) else {
        panic!("a wrong number of partitions is not told");
    };
    assert_eq!(problems, [format!("{} has 4 partitions, not 7", names[0])]);
    // A stamped topic where one that carries its time is meant.
    let carried = TopicSpec { stamped: false, record_bytes_max: 5_000_000, ..SESSIONS };
    let Err(KafkaError::Topics(problems)) = create_topics(&world.settings, &[&carried], &[]) else {
        panic!("wrong properties are not told");
    };
    let told = problems.join("; ");
    assert!(told.contains("message.timestamp.type LogAppendTime, not CreateTime"), "{told}");
    assert!(told.contains("max.message.bytes 1265536, not 5065536"), "{told}");

    let state = KafkaState::open(Arc::clone(&world.store)).expect("the store opens");
    let error = KafkaBus::join(&other, 0, vec![&SESSIONS], &["unknown"], &state)
        .err()
        .expect("the worker does not join");
    let told = self::told(&error);
    assert!(
        told.contains("sessions has 4 partitions, not 7") && told.contains("unknown.changelog is missing"),
        "{told}"
    );
}
