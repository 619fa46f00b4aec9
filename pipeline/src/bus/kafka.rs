//! The log on Kafka: a step is one transaction, a table is a changelog with a local copy, and workers are static members
//! of a consumer group.
//!
//! A worker is one thread: it polls, works the step out and commits it, and polls again only then, so that no rebalance
//! can come upon an open transaction. What it commits it commits as the member it was when it read, so that one whose
//! partitions have gone can commit nothing, whatever it has become since. Before the first record of an assignment the
//! copies of its tables are brought up to what the changelogs held when it was made.
//!
//! Reading order: `settings` (what follows from correctness and what is a choice), `writer` (the transaction), `tables`
//! (the copies), `reader`, `edge`, `topics`; `context` and `message` stand between us and the client library, and
//! `error` says what each failure asks for. Only these files name that library.

mod context;
mod edge;
mod error;
mod message;
mod reader;
mod settings;
mod tables;
mod topics;
mod writer;

pub use edge::KafkaEdge;
pub use error::KafkaError;
pub use settings::KafkaSettings;
pub use tables::KafkaState;
pub use topics::{
    IntendedTopic, TopicsReport, changelog_configs, create_topics, intended_topics, topic_configs,
};

use crate::bus::local::{get_row, scan_rows};
use crate::bus::{Bus, Commit, Polled, Position};
use crate::error::BusError;
use crate::record::LogRecord;
use crate::table::{Row, TableSpec};
use context::{GroupContext, Membership};
use edge::{Readers, whole_millis};
use error::ends_reading;
use message::{offset, record_of, signed};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use reader::{Onward, Reader, close, retire};
use schemas::TopicSpec;
use settings::Names;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tables::Tables;
use writer::{Offsets, Writer};

/// A worker's connection to a Kafka cluster.
pub struct KafkaBus {
    settings: KafkaSettings,
    worker: usize,
    names: Names,
    topics: Vec<Input>,
    /// None once the worker has left.
    clients: Option<Clients>,
    tables: Tables,
    membership: Membership,
    /// The next poll says what the worker's partitions are.
    to_announce: bool,
    /// Records that came while tables were restored.
    held: Vec<LogRecord>,
    readers: Readers,
}

/// A topic that is read, with its name in the cluster.
struct Input {
    topic: &'static TopicSpec,
    name: String,
}

/// The clients of a worker, in the order in which they are closed.
struct Clients {
    writer: Writer,
    consumer: BaseConsumer<GroupContext>,
}

/// Longest wait for brokers to answer while a worker starts.
const START_WAIT: Duration = Duration::from_secs(60);
/// Wait between two tries to reach the brokers while a worker starts.
const START_PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for the offsets that a group has committed, and for reading to go back to them.
const REWIND_WAIT: Duration = Duration::from_secs(10);
/// Wait of one question for the offsets that a group has committed.
const POSITIONS_WAIT: Duration = Duration::from_secs(2);
/// Time beyond a transaction's timeout in which the offsets that it commits must be known.
const POSITIONS_MARGIN: Duration = Duration::from_secs(20);
/// Longest wait for the group to take a worker's partitions back.
const LEAVE_WAIT: Duration = Duration::from_secs(3);
/// Wait of one call that serves the group.
const SERVE_WAIT: Duration = Duration::from_millis(20);

impl KafkaBus {
    /// Joins a group of workers that reads topics and keeps the tables of operators.
    ///
    /// A worker that had the same settings and number before is fenced, and what it left open is undone.
    pub fn join(
        settings: &KafkaSettings,
        worker: usize,
        topics: Vec<&'static TopicSpec>,
        operators: &[&'static str],
        state: &Arc<KafkaState>,
    ) -> Result<Self, BusError> {
        const ACTION: &str = "join a group";
        let failed = |error: KafkaError| error.into_bus(ACTION);
        settings.check().map_err(failed)?;
        let names = settings.names();
        let topics: Vec<Input> =
            topics.into_iter().map(|topic| Input { topic, name: names.of(topic).into_owned() }).collect();
        let tables = Tables::new(settings, Arc::clone(state), operators).map_err(failed)?;
        let consumer = open_consumer(settings, worker).map_err(failed)?;
        let inputs: Vec<&str> = topics.iter().map(|input| input.name.as_str()).collect();
        let needed: Vec<String> =
            inputs.iter().copied().chain(tables.changelogs()).map(str::to_owned).collect();
        await_topics(&consumer, &needed, settings.partitions).map_err(failed)?;
        // Before the group gives out partitions the predecessor's last transaction has ended.
        let writer = Writer::open(settings, &settings.transactional_id(worker))?;
        consumer.subscribe(&inputs).map_err(|error| failed(error.into()))?;
        Ok(Self {
            settings: settings.clone(),
            worker,
            names,
            topics,
            clients: Some(Clients { writer, consumer }),
            tables,
            membership: Membership::default(),
            to_announce: false,
            held: Vec::new(),
            readers: Readers::default(),
        })
    }

    fn clients(&self, action: &'static str) -> Result<&Clients, BusError> {
        self.clients.as_ref().ok_or_else(|| BusError::fatal(action, KafkaError::Left))
    }

    /// Takes the partitions up that the group has given this worker, with their tables.
    fn take_up(&mut self) -> Result<Vec<u32>, BusError> {
        const ACTION: &str = "take up partitions";
        let clients = self.clients.as_ref().ok_or_else(|| BusError::fatal(ACTION, KafkaError::Left))?;
        let consumer = &clients.consumer;
        loop {
            // Until all of it is done the worker has not taken up what the group says.
            self.to_announce = true;
            if consumer.context().change() != self.membership.change {
                self.held.clear();
                self.membership = consumer.context().membership();
                let partitions = together(&self.topics, &self.membership.assigned)
                    .map_err(|error| error.into_bus(ACTION))?;
                self.tables.own(&partitions).map_err(|error| error.into_bus(ACTION))?;
            }
            let (change, topics, held) = (self.membership.change, &self.topics, &mut self.held);
            let mut pause = Pause { consumer, assigned: &self.membership.assigned, is_paused: false };
            let complete = self.tables.restore(&self.settings, || {
                pause.begin()?;
                serve(consumer, topics, held)?;
                Ok(if consumer.context().change() == change { Onward::Continue } else { Onward::Stop })
            });
            let complete = complete.and_then(|complete| {
                if !complete {
                    return Ok(false);
                }
                await_positions(&self.settings, &self.tables, clients, &self.membership.assigned, || {
                    pause.begin()?;
                    serve(consumer, topics, held)?;
                    Ok(if consumer.context().change() == change { Onward::Continue } else { Onward::Stop })
                })
            });
            pause.end()?;
            if complete? && consumer.context().change() == change {
                self.to_announce = false;
                return together(&self.topics, &self.membership.assigned)
                    .map_err(|error| error.into_bus(ACTION));
            }
        }
    }

    fn has_changed(&self) -> bool {
        self.clients
            .as_ref()
            .is_some_and(|clients| clients.consumer.context().change() != self.membership.change)
    }

    /// Returns the records that are there; waits for the first.
    fn gather(&mut self, records_max: usize, wait: Duration) -> Result<Vec<LogRecord>, BusError> {
        const ACTION: &str = "poll";
        let until = Instant::now() + wait;
        let mut records: Vec<LogRecord> = self.held.drain(..self.held.len().min(records_max)).collect();
        let clients = self.clients(ACTION)?;
        while records.len() < records_max && !self.has_changed() {
            let left = until.saturating_duration_since(Instant::now());
            let patience = if records.is_empty() { whole_millis(left) } else { Duration::ZERO };
            match clients.consumer.poll(patience) {
                Some(message) => records.extend(received(&self.topics, message)?),
                None if records.is_empty() && !left.is_zero() => {}
                None => break,
            }
        }
        Ok(records)
    }

    /// Returns the offsets of a step as the library takes them, with who read it.
    fn offsets(&self, positions: &[Position]) -> Result<Option<Offsets<'_>>, KafkaError> {
        if positions.is_empty() {
            return Ok(None);
        }
        let Some(metadata) = &self.membership.metadata else { return Err(KafkaError::Lost) };
        let mut next = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            next.add_partition_offset(
                &self.names.of(position.topic),
                signed(position.partition),
                offset(position.next),
            )?;
        }
        Ok(Some(Offsets { next, metadata }))
    }

    /// Moves reading back to what the group has committed.
    fn seek_back(&self) -> Result<(), KafkaError> {
        let Some(clients) = &self.clients else { return Err(KafkaError::Left) };
        let consumer = &clients.consumer;
        let assigned = &self.membership.assigned;
        if assigned.is_empty() || self.has_changed() || self.is_fenced() {
            // A new assignment begins with what is committed anyway.
            return Ok(());
        }
        let committed = committed(consumer, assigned, REWIND_WAIT)?;
        let mut back = TopicPartitionList::with_capacity(assigned.len());
        for element in committed.elements() {
            let next = match element.offset() {
                known @ Offset::Offset(_) => known,
                _ => Offset::Beginning,
            };
            back.add_partition_offset(element.topic(), element.partition(), next)?;
        }
        let moved = consumer.seek_partitions(back, REWIND_WAIT)?;
        for element in moved.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Joins the group anew after it has told the consumer that another has its name.
    ///
    /// That other may be the worker itself: after an outage that is longer than its session the client library forgets
    /// who it was before it has joined again, and the group sees a stranger. A true successor has taken the producer's
    /// id first, so the producer knows.
    fn come_back(&mut self) -> Result<(), BusError> {
        const ACTION: &str = "join a group again";
        let failed = |error: KafkaError| error.into_bus(ACTION);
        let Some(Clients { writer, consumer }) = self.clients.take() else {
            return Err(failed(KafkaError::Left));
        };
        if let Err(error @ BusError::Fatal { .. }) = seal(&self.settings, &self.tables, &writer) {
            close((writer, consumer));
            return Err(error);
        }
        std::mem::drop(retire(consumer));
        let consumer = open_consumer(&self.settings, self.worker).map_err(failed)?;
        let inputs: Vec<&str> = self.topics.iter().map(|input| input.name.as_str()).collect();
        consumer.subscribe(&inputs).map_err(|error| failed(error.into()))?;
        self.clients = Some(Clients { writer, consumer });
        self.membership = Membership::default();
        self.to_announce = false;
        self.held.clear();
        Ok(())
    }

    fn is_fenced(&self) -> bool {
        let fatal = self.clients.as_ref().and_then(|clients| clients.consumer.client().fatal_error());
        matches!(fatal, Some((Code::FencedInstanceId, _)))
    }

    fn poll_group(&mut self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        if self.to_announce && !self.has_changed() {
            // The group may have moved on since the step was undone.
            let clients = self.clients.as_ref().ok_or_else(|| BusError::fatal("poll", KafkaError::Left))?;
            serve(&clients.consumer, &self.topics, &mut self.held)?;
        }
        if self.to_announce || self.has_changed() {
            return Ok(Polled::Assigned(self.take_up()?));
        }
        let records = self.gather(records_max, wait)?;
        if self.has_changed() {
            // What was read is read again by whoever has the partitions now.
            return Ok(Polled::Assigned(self.take_up()?));
        }
        Ok(Polled::Records(records))
    }
}

impl Bus for KafkaBus {
    fn poll(&mut self, records_max: usize, wait: Duration) -> Result<Polled, BusError> {
        self.clients("poll")?.writer.serve();
        let polled = self.poll_group(records_max, wait);
        if polled.is_ok() || !self.is_fenced() {
            return polled;
        }
        self.come_back()?;
        Ok(Polled::Assigned(Vec::new()))
    }

    fn commit(&mut self, commit: Commit) -> Result<(), BusError> {
        const ACTION: &str = "commit a step";
        let failed = |error: KafkaError| error.into_bus(ACTION);
        let clients = self.clients(ACTION)?;
        if self.has_changed() || clients.consumer.assignment_lost() {
            return Err(failed(KafkaError::Lost));
        }
        let rows = self.tables.rows(commit.writes).map_err(failed)?;
        let offsets = self.offsets(&commit.positions).map_err(failed)?;
        let ends = clients.writer.commit(
            &commit.records,
            &self.tables.records(&rows),
            rows.places(),
            offsets.as_ref(),
        )?;
        // Where this fails the copy lacks a committed step, and no worker may go on with it.
        self.tables.apply(rows, &ends).map_err(|error| BusError::fatal(ACTION, error))
    }

    fn rewind(&mut self) -> Result<(), BusError> {
        self.to_announce = true;
        self.held.clear();
        self.seek_back().map_err(|error| error.into_bus("read again"))
    }

    fn get(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<Row>, BusError> {
        let space = self.tables.space(operator).map_err(|error| error.into_bus("use a table"))?;
        get_row(self.tables.store(), space, table, partition, key)
    }

    fn scan(
        &self,
        operator: &'static str,
        table: &TableSpec,
        partition: u32,
        from: &[u8],
        rows_max: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, BusError> {
        let space = self.tables.space(operator).map_err(|error| error.into_bus("use a table"))?;
        scan_rows(self.tables.store(), space, table, partition, from, rows_max)
    }

    fn read_compacted(&self, topic: &'static TopicSpec) -> Result<Vec<LogRecord>, BusError> {
        self.readers.read_compacted(&self.settings, topic)
    }

    fn lag(&self, topic: &'static TopicSpec, partition: u32) -> Option<u64> {
        let clients = self.clients.as_ref()?;
        clients.consumer.context().lag(self.names.of(topic).into_owned(), signed(partition))
    }

    fn leave(&mut self) {
        let Some(clients) = self.clients.take() else { return };
        if let Err(error) = self.tables.save_checkpoints() {
            // The next worker reads more of the changelogs, that is all.
            tracing::warn!(error = %error, "checkpoints were not saved");
        }
        if self.settings.leave_on_stop {
            clients.consumer.unsubscribe();
            let until = Instant::now() + LEAVE_WAIT;
            // The group takes the partitions back through a rebalance, which is served here.
            while !clients.consumer.context().membership().assigned.is_empty() && Instant::now() < until {
                clients.consumer.poll(SERVE_WAIT);
            }
        }
        close((clients.writer, clients.consumer));
    }
}

impl Drop for KafkaBus {
    /// Closes the clients. A worker that was not told to leave comes back, so it stays a member of its group.
    fn drop(&mut self) {
        if let Some(clients) = self.clients.take() {
            close((clients.writer, clients.consumer));
        }
    }
}

/// Stops the records of an assignment while tables are restored for longer than a moment.
struct Pause<'a> {
    consumer: &'a BaseConsumer<GroupContext>,
    assigned: &'a [(String, i32)],
    is_paused: bool,
}

impl Pause<'_> {
    fn begin(&mut self) -> Result<(), BusError> {
        if !self.is_paused && !self.assigned.is_empty() {
            self.consumer.pause(&list(self.assigned)).map_err(paused)?;
            self.is_paused = true;
        }
        Ok(())
    }

    fn end(self) -> Result<(), BusError> {
        if self.is_paused {
            self.consumer.resume(&list(self.assigned)).map_err(paused)?;
        }
        Ok(())
    }
}

fn paused(error: ClientError) -> BusError {
    KafkaError::Client(error).into_bus("pause reading")
}

/// Lets the group tell what it has to tell, and keeps a record that comes with it.
fn serve(
    consumer: &BaseConsumer<GroupContext>,
    topics: &[Input],
    held: &mut Vec<LogRecord>,
) -> Result<(), BusError> {
    if let Some(message) = consumer.poll(Duration::ZERO) {
        held.extend(received(topics, message)?);
    }
    Ok(())
}

/// Returns what a poll brought as a record; none for errors that the library repairs itself.
fn received(
    topics: &[Input],
    message: Result<BorrowedMessage<'_>, ClientError>,
) -> Result<Option<LogRecord>, BusError> {
    match message {
        Ok(message) => {
            let input = topics.iter().find(|input| input.name == message.topic());
            Ok(input.map(|input| record_of(input.topic, &message)))
        }
        Err(error) if ends_reading(&error) => Err(BusError::fatal("poll", KafkaError::Client(error))),
        // The context was told, and the library goes on trying.
        Err(_) => Ok(None),
    }
}

/// Waits until the group can tell where to begin. Whoever gets partitions while a step's offsets are being committed
/// has to wait for that, but only so long.
fn await_positions(
    settings: &KafkaSettings,
    tables: &Tables,
    clients: &Clients,
    assigned: &[(String, i32)],
    mut idle: impl FnMut() -> Result<Onward, BusError>,
) -> Result<bool, BusError> {
    const ACTION: &str = "find where to begin";
    if assigned.is_empty() {
        return Ok(true);
    }
    let until = Instant::now() + settings.transaction_timeout + POSITIONS_MARGIN;
    let mut is_sealed = false;
    loop {
        let error = match committed(&clients.consumer, assigned, POSITIONS_WAIT) {
            Ok(_) => return Ok(true),
            Err(error) => error.into_bus(ACTION),
        };
        if !matches!(error, BusError::Retry { .. }) || Instant::now() > until {
            return Err(error);
        }
        if idle()? == Onward::Stop {
            return Ok(false);
        }
        if !std::mem::replace(&mut is_sealed, true) {
            // What hides them may be a transaction of our own, which has long ended for us.
            match seal(settings, tables, &clients.writer) {
                Err(error @ BusError::Fatal { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "the last transaction was not sealed"),
                Ok(()) => {}
            }
        }
        std::thread::sleep(SERVE_WAIT);
    }
}

/// Returns what the group has committed of an assignment.
fn committed(
    consumer: &BaseConsumer<GroupContext>,
    assigned: &[(String, i32)],
    wait: Duration,
) -> Result<TopicPartitionList, KafkaError> {
    let committed = consumer.committed_offsets(list(assigned), wait)?;
    for element in committed.elements() {
        element.error()?;
    }
    Ok(committed)
}

/// Ends a writer's last transaction once more, by way of offsets of a changelog: no group reads those.
fn seal(settings: &KafkaSettings, tables: &Tables, writer: &Writer) -> Result<(), BusError> {
    let failed = |error: KafkaError| error.into_bus("seal a transaction");
    let Some(changelog) = tables.changelogs().next() else { return Ok(()) };
    let mut next = TopicPartitionList::new();
    next.add_partition_offset(changelog, 0, offset(0)).map_err(|error| failed(error.into()))?;
    // Nobody's membership is in it, so it holds for one who has lost his.
    let metadata = Reader::committed(settings).and_then(|reader| reader.metadata()).map_err(failed)?;
    writer.seal(&Offsets { next, metadata: &metadata })
}

fn list(partitions: &[(String, i32)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// Returns the partitions of an assignment, which have to be the same of every topic: an operator's tables are where
/// its records are.
fn together(topics: &[Input], assigned: &[(String, i32)]) -> Result<Vec<u32>, KafkaError> {
    let of = |input: &Input| -> BTreeSet<u32> {
        let own = assigned.iter().filter(|(topic, _)| *topic == input.name);
        own.map(|(_, partition)| partition.unsigned_abs()).collect()
    };
    let Some((first, rest)) = topics.split_first() else { return Ok(Vec::new()) };
    let others: Vec<u32> = of(first).into_iter().collect();
    for input in rest {
        let partitions: Vec<u32> = of(input).into_iter().collect();
        if partitions != others {
            return Err(KafkaError::NotTogether { topic: input.name.clone(), partitions, others });
        }
    }
    Ok(others)
}

fn open_consumer(settings: &KafkaSettings, worker: usize) -> Result<BaseConsumer<GroupContext>, KafkaError> {
    Ok(settings.group_consumer(worker).create_with_context(GroupContext::default())?)
}

/// Waits for brokers that answer, and refuses topics that are not as they have to be.
fn await_topics(
    consumer: &BaseConsumer<GroupContext>,
    names: &[String],
    partitions: u32,
) -> Result<(), KafkaError> {
    let until = Instant::now() + START_WAIT;
    loop {
        match topics::missing(consumer, names, partitions) {
            Ok(problems) if problems.is_empty() => return Ok(()),
            Ok(problems) => return Err(KafkaError::Topics(problems)),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(error) => tracing::warn!(%error, "no answer from kafka yet"),
        }
        std::thread::sleep(START_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::topic::{SESSIONS, SIGNALS};

    #[test]
    fn an_assignment_has_the_same_partitions_of_every_topic() {
        let input = |topic: &'static TopicSpec| Input { topic, name: topic.name.to_owned() };
        let topics = [input(&SESSIONS), input(&SIGNALS)];
        let pair = |topic: &TopicSpec, partition| (topic.name.to_owned(), partition);
        let whole = [pair(&SESSIONS, 2), pair(&SIGNALS, 0), pair(&SESSIONS, 0), pair(&SIGNALS, 2)];
        assert_eq!(together(&topics, &whole).expect("the topics go together"), [0, 2]);
        assert_eq!(together(&topics, &[]).expect("nothing goes together"), Vec::<u32>::new());
        let error = together(&topics, &whole[..3]).expect_err("a partition is missing");
        assert!(matches!(error, KafkaError::NotTogether { topic, .. } if topic == SIGNALS.name));
    }
}
