//! Measures steps on a Kafka cluster: `kafka_steps BROKERS [RECORDS]` makes topics under a prefix of its own.
//!
//! A session of 1.5 KB is read, five records and two rows are written for it, all exactly once, with steps as large as
//! what has come since the last. Then the copies of the tables are thrown away and restored. Processor time is that of
//! this process, the client library's threads included; what publishes meanwhile is a process of its own.

use pipeline::bus::kafka::{KafkaBus, KafkaEdge, KafkaSettings, KafkaState, create_topics};
use pipeline::bus::{Bus, Commit, Edge, Polled, Position, SystemClock, WallClock};
use pipeline::record::{LogRecord, NewRecord};
use pipeline::store::{DiskLimits, DiskStore};
use pipeline::table::{TableWrite, changelog};
use schemas::TopicSpec;
use schemas::topic::{ACCEPTED, DECISIONS, DECISIONS_LATEST, SESSIONS, SIGNALS};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

const OPERATOR: &str = "measured";
const PARTITIONS: u32 = 4;
const SESSION_BYTES: usize = 1_500;
/// What is written for a session, and how large it is.
const OUTPUTS: [(&TopicSpec, usize); 5] =
    [(&ACCEPTED, 1_500), (&SIGNALS, 600), (&SIGNALS, 600), (&DECISIONS, 1_500), (&DECISIONS_LATEST, 1_500)];
/// Bytes of each of two rows.
const ROW_BYTES: usize = 700;
const STEP_RECORDS_MAX: usize = 2_000;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("usage: kafka_steps BROKERS [RECORDS]")?;
    let records: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    if let Some(prefix) = arguments.next() {
        return publish_paced(&settings(&brokers, &prefix), records);
    }
    let settings = settings(&brokers, &format!("measure-{}.", SystemClock.now_ms()));
    create_topics(&settings, &[&SESSIONS, &ACCEPTED, &SIGNALS, &DECISIONS, &DECISIONS_LATEST], &[OPERATOR])?;
    publish(&settings, records)?;
    let folder = tempfile::tempdir()?;
    for run in ["first", "second"] {
        // The second run begins with empty copies, and measures what it takes to fill them.
        let mut bus = join(&settings, &folder.path().join(run))?;
        restore(&mut bus, records, run)?;
        if run == "first" {
            drain(&mut bus, records)?;
            pace(&settings, &mut bus)?;
        }
        bus.leave();
    }
    Ok(())
}

fn settings(brokers: &str, prefix: &str) -> KafkaSettings {
    // Properties as KEY=VALUE, to compare them.
    let client = std::env::var("KAFKA_CLIENT").unwrap_or_default();
    let client = client.split_whitespace().filter_map(|pair| pair.split_once('='));
    KafkaSettings {
        bootstrap_servers: brokers.to_owned(),
        group: format!("{prefix}group"),
        topic_prefix: prefix.to_owned(),
        instance: "one".to_owned(),
        client: client.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        partitions: PARTITIONS,
        replication_factor: 1,
        transaction_timeout: Duration::from_secs(15),
        session_timeout: Duration::from_secs(10),
        step_timeout: Duration::from_secs(300),
        leave_on_stop: true,
    }
}

fn join(settings: &KafkaSettings, folder: &Path) -> Result<KafkaBus, Failure> {
    let limits =
        DiskLimits { cache_bytes: 32 << 20, write_buffer_bytes: 16 << 20, journal_bytes_max: 128 << 20 };
    let state = KafkaState::open(Arc::new(DiskStore::open(folder, limits)?))?;
    Ok(KafkaBus::join(settings, 0, vec![&SESSIONS], &[OPERATOR], &state)?)
}

fn session(number: usize) -> NewRecord {
    let key = format!("session-{number:012}").into_bytes();
    let partition = schemas::key::partition_of(&key, PARTITIONS);
    let value = Some(bytes(SESSION_BYTES, number));
    NewRecord {
        topic: &SESSIONS,
        partition,
        key: Some(key),
        value,
        headers: Vec::new(),
        time: SystemClock.now_ms(),
    }
}

/// Returns bytes that compress as records do: half of them repeat from record to record.
fn bytes(count: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut byte = |place: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if place % 32 < 16 { b'a' + (place % 23) as u8 } else { (state >> 33) as u8 }
    };
    (0..count).map(&mut byte).collect()
}

fn publish(settings: &KafkaSettings, records: usize) -> Result<(), Failure> {
    let edge = KafkaEdge::connect(settings)?;
    let began = Instant::now();
    for from in (0..records).step_by(5_000) {
        edge.publish((from..records.min(from + 5_000)).map(session).collect())?;
    }
    println!("publish: {:.0} records/s", records as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Waits for the partitions, and tells how fast their tables were there.
fn restore(bus: &mut KafkaBus, records: usize, run: &str) -> Result<(), Failure> {
    let (began, cpu) = (Instant::now(), cpu_ms());
    loop {
        match bus.poll(1, Duration::from_millis(10))? {
            Polled::Assigned(partitions) if !partitions.is_empty() => break,
            _ => {}
        }
    }
    let took = began.elapsed();
    if run == "first" {
        println!("first assignment: {} ms after the start", took.as_millis());
    } else {
        let rows = 2 * records;
        let rate = rows as f64 / took.as_secs_f64();
        let of = changelog(OPERATOR);
        println!(
            "restore: {rows} rows of {of} in {} ms: {rate:.0} rows/s, cpu {} ms",
            took.as_millis(),
            cpu_ms() - cpu
        );
    }
    Ok(())
}

/// Works a backlog off.
fn drain(bus: &mut KafkaBus, records: usize) -> Result<(), Failure> {
    let (began, cpu) = (Instant::now(), cpu_ms());
    let (mut done, mut steps, mut polling, mut committing) = (0, 0, Duration::ZERO, Duration::ZERO);
    while done < records {
        let poll = Instant::now();
        let Polled::Records(read) = bus.poll(STEP_RECORDS_MAX, Duration::from_millis(10))? else { continue };
        polling += poll.elapsed();
        if read.is_empty() {
            continue;
        }
        let effects = effects(&read);
        let commit = Instant::now();
        bus.commit(effects)?;
        committing += commit.elapsed();
        done += read.len();
        steps += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "drain: {records} records in {steps} steps: {:.0} records/s, cpu {:.4} ms a record; a step polls {:.1} ms and commits {:.1} ms; resident {} MB",
        records as f64 / seconds,
        (cpu_ms() - cpu) as f64 / records as f64,
        polling.as_secs_f64() * 1_000.0 / f64::from(steps),
        committing.as_secs_f64() * 1_000.0 / f64::from(steps),
        resident_mb(),
    );
    Ok(())
}

/// Publishes 2,000 records a second.
fn publish_paced(settings: &KafkaSettings, records: usize) -> Result<(), Failure> {
    let edge = KafkaEdge::connect(settings)?;
    let began = Instant::now();
    for number in (0..records).step_by(4) {
        let due = Duration::from_micros(500 * number as u64);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        edge.publish((number..number + 4).map(session).collect())?;
    }
    Ok(())
}

/// Works at 2,000 records a second, and tells how long each took from its publication to its commit.
fn pace(settings: &KafkaSettings, bus: &mut KafkaBus) -> Result<(), Failure> {
    const RECORDS: usize = 20_000;
    let mut publisher = std::process::Command::new(std::env::current_exe()?)
        .args([&settings.bootstrap_servers, &RECORDS.to_string(), &settings.topic_prefix])
        .spawn()?;
    let cpu = cpu_ms();
    let (mut delays, mut steps) = (Vec::with_capacity(RECORDS), 0);
    while delays.len() < RECORDS {
        let Polled::Records(read) = bus.poll(STEP_RECORDS_MAX, Duration::from_millis(10))? else { continue };
        if read.is_empty() {
            continue;
        }
        bus.commit(effects(&read))?;
        let now = SystemClock.now_ms();
        delays.extend(read.iter().map(|record| now - record.time));
        steps += 1;
    }
    let spent = cpu_ms() - cpu;
    if !publisher.wait()?.success() {
        return Err("the publisher failed".into());
    }
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    println!(
        "at 2,000 records/s: {steps} steps, append to commit p50 {} ms, p99 {} ms, max {} ms, cpu {:.4} ms a record",
        at(0.5),
        at(0.99),
        at(1.0),
        spent as f64 / RECORDS as f64,
    );
    Ok(())
}

fn effects(read: &[LogRecord]) -> Commit {
    let mut commit = Commit::default();
    let mut next = BTreeMap::new();
    for record in read {
        next.insert(record.partition, record.offset + 1);
        let seed = record.offset as usize;
        for (topic, size) in OUTPUTS {
            commit.records.push(NewRecord {
                topic,
                partition: record.partition,
                key: record.key.clone(),
                value: Some(bytes(size, seed)),
                headers: Vec::new(),
                time: record.time,
            });
        }
        for table in [8, 9] {
            commit.writes.push(TableWrite {
                operator: OPERATOR,
                table,
                partition: record.partition,
                key: record.key.clone().unwrap_or_default(),
                value: Some(bytes(ROW_BYTES, seed)),
                touched: record.time,
            });
        }
    }
    commit.positions =
        next.into_iter().map(|(partition, next)| Position { topic: &SESSIONS, partition, next }).collect();
    commit
}

/// Returns the processor time of this process so far. The kernel counts in ticks of 10 ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may hold spaces; after its bracket come the state and, as the twelfth and thirteenth, the times.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    10 * (ticks(11) + ticks(12))
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
