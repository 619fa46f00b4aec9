//! What one process hosts: which operators, how records pass between them, and what is published beside that.

use crate::operator::AnyOperator;
use schemas::{Codec, TopicSpec};
use std::sync::Arc;

/// Content that markers name by hash, as rule sets: it is loaded before a record after the marker is handled.
pub trait Library: Send + Sync {
    /// Returns the kind of control, as in `rules`.
    fn kind(&self) -> &'static str;

    /// Returns the compacted topic that holds the contents, keyed by hash.
    fn topic(&self) -> &'static TopicSpec;

    /// Tells whether a content is loaded.
    fn has(&self, hash: &str) -> bool;

    /// Loads a content of the topic.
    fn load(&self, message: &schemas::Message) -> Result<(), String>;
}

/// The operators of one process, in the order in which records flow, and how they are joined.
pub struct Hosting {
    pub(crate) operators: Vec<Arc<dyn AnyOperator>>,
    pub(crate) libraries: Vec<Arc<dyn Library>>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) partitions: u32,
    /// Which operators of the whole deployment read which topic.
    readers: Vec<(&'static str, Vec<String>)>,
    options: HostingOptions,
}

/// What is written beside the effects that are needed.
#[derive(Clone, Debug)]
pub struct HostingOptions {
    /// Topics that are published even where every reader has the record in memory.
    pub publish: Vec<String>,
    /// Steps are written to the topic `steps`, for faithful replays.
    pub record_steps: bool,
}

impl Hosting {
    /// Joins operators.
    ///
    /// `deployment` names every operator that runs anywhere, with the topic it reads: a record passes in memory only to
    /// those hosted here, and is written for the others.
    pub fn new(
        operators: Vec<Arc<dyn AnyOperator>>,
        libraries: Vec<Arc<dyn Library>>,
        codec: Arc<Codec>,
        partitions: u32,
        deployment: &[(String, &'static TopicSpec)],
        options: HostingOptions,
    ) -> Self {
        assert!(partitions > 0, "a topic has a partition");
        let mut readers: Vec<(&'static str, Vec<String>)> = Vec::new();
        let hosted = operators.iter().map(|operator| {
            let descriptor = operator.descriptor();
            (descriptor.name.to_owned(), descriptor.input)
        });
        for (operator, topic) in hosted.chain(deployment.iter().cloned()) {
            match readers.iter_mut().find(|(name, _)| *name == topic.name) {
                Some((_, names)) if names.contains(&operator) => {}
                Some((_, names)) => names.push(operator),
                None => readers.push((topic.name, vec![operator])),
            }
        }
        Self { operators, libraries, codec, partitions, readers, options }
    }

    /// Returns the name of this set of operators, as in `intake+fusion`.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.operators.iter().map(|operator| operator.descriptor().name).collect();
        names.join("+")
    }

    /// Returns the topics that are read, each once.
    pub fn inputs(&self) -> Vec<&'static TopicSpec> {
        let mut inputs: Vec<&'static TopicSpec> = Vec::new();
        for operator in &self.operators {
            let input = operator.descriptor().input;
            if !inputs.iter().any(|known| known.name == input.name) {
                inputs.push(input);
            }
        }
        inputs
    }

    /// Returns the names of the operators whose tables are kept.
    pub fn stateful(&self) -> Vec<&'static str> {
        self.operators.iter().map(|operator| operator.descriptor().name).collect()
    }

    /// Tells whether a hosted operator writes a topic.
    pub fn writes(&self, topic: &TopicSpec) -> bool {
        let outputs = self.operators.iter().flat_map(|operator| operator.descriptor().outputs);
        outputs.into_iter().any(|output| output.name == topic.name)
    }

    /// Returns the number of partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Returns the codec.
    pub fn codec(&self) -> &Arc<Codec> {
        &self.codec
    }

    pub(crate) fn hosts(&self, operator: &str) -> bool {
        self.operators.iter().any(|hosted| hosted.descriptor().name == operator)
    }

    /// Returns the places of the hosted operators that read a topic.
    pub(crate) fn hosted_readers(&self, topic: &TopicSpec) -> impl Iterator<Item = usize> + '_ {
        let name = topic.name;
        self.operators
            .iter()
            .enumerate()
            .filter(move |(_, operator)| operator.descriptor().input.name == name)
            .map(|(index, _)| index)
    }

    /// Tells whether a record of a topic has to be written, given whether it passes in memory.
    pub(crate) fn must_write(&self, topic: &TopicSpec, passes: bool) -> bool {
        !passes || self.read_elsewhere(topic) || self.options.publish.iter().any(|name| name == topic.name)
    }

    /// Tells whether an operator that is not hosted here reads a topic.
    pub(crate) fn read_elsewhere(&self, topic: &TopicSpec) -> bool {
        let names = self.readers.iter().find(|(name, _)| *name == topic.name);
        names.is_none_or(|(_, names)| names.iter().any(|name| !self.hosts(name)))
    }

    /// Returns the names of the hosted readers of a topic, joined by commas.
    pub(crate) fn handled_by(&self, topic: &TopicSpec) -> String {
        let names: Vec<&str> =
            self.hosted_readers(topic).map(|index| self.operators[index].descriptor().name).collect();
        names.join(",")
    }

    pub(crate) fn records_steps(&self) -> bool {
        self.options.record_steps
    }
}
