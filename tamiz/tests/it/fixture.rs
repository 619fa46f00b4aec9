//! A deployment in a temporary folder: settings, a log, the built command, and operators that work on demand.

use gateway::GatewaySettings;
use pipeline::bus::local::{LocalBus, LocalLog};
use pipeline::config::Config;
use pipeline::{HostContext, Log, LogRecord, NewRecord, Runner, Turn};
use schemas::{Codec, Decision, Key, TopicSpec};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use tamiz::access;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// An address that the fixture's list names as an exit of Tor.
pub const TOR_EXIT: &str = "185.220.101.1";
/// An address that it does not name.
pub const ORDINARY: &str = "201.141.5.9";

/// A deployment.
pub struct Fixture {
    folder: TempDir,
    pub config: Config,
}

/// What a command answered.
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Returns the output of a command that ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self.out
    }

    /// Returns the output and the errors of a command that failed.
    #[track_caller]
    pub fn failed(self) -> (String, String) {
        assert_eq!(self.code, Some(1), "{}\n{}", self.out, self.err);
        (self.out, self.err)
    }

    /// Returns the output as JSON, one value a line.
    #[track_caller]
    pub fn json(self) -> Vec<serde_json::Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.ok().lines().map(read).collect()
    }
}

impl Fixture {
    /// Makes a deployment with an embedded log, which is not there yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("tor.txt"), format!("{TOR_EXIT}\n")).expect("a file is written");
        let mut fixture = Self { config: load(folder.path(), None), folder };
        fixture.listen(9);
        fixture
    }

    /// Sets the port at which a running process is looked for; nothing listens on port 9 of a machine of ours.
    pub fn listen(&mut self, port: u16) {
        let path = |name: &str| self.path(name).display().to_string();
        let settings = format!(
            "[deployment]\npartitions = 2\n[embedded]\nfolder = {:?}\ndurable = false\n\
             [http]\nlisten = \"127.0.0.1:{port}\"\n[telemetry]\nlisten = \"\"\nlog_level = \"warn\"\n\
             [data]\nassets_folder = {:?}\nfiles = {{ \"ip.tor:addresses\" = [{:?}] }}\n",
            path("log"),
            path("assets"),
            path("tor.txt")
        );
        self.configure(&settings);
    }

    /// Puts other settings in the place of the fixture's own.
    pub fn configure(&mut self, settings: &str) {
        let file = self.write("tamiz.toml", settings);
        self.config = load(self.folder.path(), Some(&file));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file is written");
        path
    }

    /// Returns the command, to be run in the folder and with no environment but the settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tamiz"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("TAMIZ_CONFIG", self.path("tamiz.toml"));
        command
    }

    /// Runs the command.
    pub fn tamiz(&self, args: &[&str]) -> Answer {
        self.tamiz_with_input(args, Stdio::null())
    }

    pub fn tamiz_with_input(&self, args: &[&str], input: impl Into<Stdio>) -> Answer {
        let output = self.command(args).stdin(input).output().expect("the command is built and runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command writes UTF-8");
        Answer { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Opens the log, as `tamiz up` does.
    pub fn log(&self) -> Arc<LocalLog> {
        #[allow(irrefutable_let_patterns, reason = "there is one more kind of log with Kafka linked")]
        let Log::Local(log) = access::open(&self.config).expect("nobody has the log open") else {
            panic!("the log is on this machine")
        };
        log
    }

    /// Lets all operators handle everything that is in the log.
    pub fn work(&self) {
        self.work_on(&self.log());
    }

    pub fn work_on(&self, log: &Arc<LocalLog>) {
        let context = HostContext::new(self.config.clone());
        let names = &self.config.deployment.operators;
        let hosting =
            tamiz::operators::join(&context, names, Arc::new(Codec::new())).expect("the operators join");
        let bus = LocalBus::join(Arc::clone(log), "test", hosting.inputs(), &hosting.stateful());
        let settings = pipeline::host::runner_settings(&self.config, 0);
        let mut runner = Runner::new(Box::new(bus.expect("the group is joined")), hosting, settings);
        while runner.turn().expect("a step is committed") != Turn::Idle {}
    }

    /// Returns every record of a topic.
    pub fn records(&self, topic: &'static TopicSpec) -> Vec<LogRecord> {
        let log = self.log();
        let partitions = 0..log.partitions();
        let records = partitions.flat_map(|partition| {
            log.read(topic, partition, 0, usize::MAX).expect("the log is read").into_iter()
        });
        records.filter(|record| !record.is_tick()).collect()
    }

    /// Returns every decision in the log.
    pub fn decisions(&self) -> Vec<Decision> {
        let codec = Codec::new();
        let records = self.records(&schemas::topic::DECISIONS);
        let read = |record: &LogRecord| codec.decode(record.value.as_deref().unwrap_or_default());
        records.iter().map(|record| read(record).expect("a decision is read")).collect()
    }

    /// Appends a record of any bytes to a topic, under a session's key.
    pub fn append(&self, topic: &'static TopicSpec, session_id: &str, value: &[u8]) {
        let key = Key::of_session("default", session_id);
        let record = NewRecord {
            topic,
            partition: key.partition(self.config.deployment.partitions),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.to_vec()),
            headers: Vec::new(),
            time: 0,
        };
        self.log().append(vec![record]).expect("a record is appended");
    }

    /// Opens the log here and serves the HTTP interface over it, as a running `tamiz up` does, at the address that the
    /// settings name.
    pub fn serve(&mut self) -> Server {
        let settings = GatewaySettings {
            listen: ([127, 0, 0, 1], 0).into(),
            tenants: ["default", "acme"].map(str::to_owned).into(),
            ..GatewaySettings::default()
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        let edge = Arc::new(self.log());
        let bound = runtime.block_on(gateway::bind(settings, edge, Arc::new(Codec::new())));
        let bound = bound.expect("a free port is found");
        self.listen(bound.address().port());
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(bound.run(async {
                // An error means that the sender has gone, which asks for the stop too.
                let _ = stopped.await;
            }));
        };
        Server { stop: Some(stop), thread: Some(std::thread::spawn(serve)) }
    }
}

fn load(folder: &Path, file: Option<&Path>) -> Config {
    let mut config = Config::load(file, std::iter::empty()).expect("the settings are valid");
    config.data.assets_folder = folder.join("assets");
    config
}

/// The HTTP interface over an open log, until it is dropped.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the interface stops in good order");
        }
    }
}

/// Returns a rule set with one rule, which fires for every session with this id.
pub fn rules_for(name: &str, session_id: &str) -> String {
    format!(
        "name = {name:?}\n[[rule]]\ncode = \"KNOWN\"\nwhen = 'session.session_id == \"{session_id}\"'\n\
         severity = \"flag\"\nweight = 90\ntext.en = \"It is known.\"\ntext.es = \"Es conocida.\"\n"
    )
}
