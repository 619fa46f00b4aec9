//! Settings: the committed defaults, then a file, then the environment. A key that the defaults do not have is refused
//! with the one that may have been meant.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The defaults, each with its unit and reason.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Before the names of environment variables; between the names of nested keys stands `__`.
const ENVIRONMENT_PREFIX: &str = "TAMIZ__";
/// Keys whose members are free.
const FREE: &[&str] = &["kafka.client", "data.files"];

/// Settings of a process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "config/default.toml documents each setting")]
pub struct Config {
    pub deployment: DeploymentConfig,
    pub runtime: RuntimeConfig,
    pub embedded: EmbeddedConfig,
    pub kafka: KafkaConfig,
    pub registry: RegistryConfig,
    pub http: HttpConfig,
    pub telemetry: TelemetryConfig,
    pub data: DataConfig,
    pub rules: RulesConfig,
}

/// `[deployment]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DeploymentConfig {
    pub bus: BusKind,
    pub operators: Vec<String>,
    pub partitions: u32,
    pub tenants: Vec<String>,
}

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusKind {
    /// In a folder of this machine.
    Embedded,
    /// In a Kafka cluster.
    Kafka,
}

/// `[runtime]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct RuntimeConfig {
    pub workers: usize,
    pub step_records_max: usize,
    pub poll_wait_ms: u64,
    pub tick_ms: u64,
    pub tick_quiet_ms: u64,
    pub quiet_after_ms: u64,
    pub silence_ms: i64,
    pub publish: Vec<String>,
    pub record_steps: bool,
    pub retries_max: u32,
    pub retry_wait_ms: u64,
    pub drain_deadline_ms: u64,
}

/// `[embedded]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct EmbeddedConfig {
    pub folder: PathBuf,
    pub durable: bool,
    pub cache_mib: u64,
    pub write_buffer_mib: u64,
    pub journal_mib_max: u64,
}

/// `[kafka]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct KafkaConfig {
    pub bootstrap_servers: String,
    pub topic_prefix: String,
    pub instance: String,
    pub replication_factor: u32,
    pub session_timeout_ms: u64,
    pub transaction_timeout_ms: u64,
    pub step_timeout_ms: u64,
    pub leave_on_stop: bool,
    pub state_folder: PathBuf,
    pub client: BTreeMap<String, String>,
}

/// `[registry]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct RegistryConfig {
    pub url: String,
    pub user: String,
    pub password: String,
}

/// `[http]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct HttpConfig {
    pub listen: String,
    pub body_mib_max: usize,
    pub sessions_max: usize,
    pub wait_ms_max: u64,
    pub stream_clients_max: usize,
}

/// `[telemetry]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TelemetryConfig {
    pub listen: String,
    pub log_format: LogFormat,
    pub log_level: String,
}

/// How log events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `[data]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DataConfig {
    pub assets_folder: PathBuf,
    pub files: BTreeMap<String, Vec<PathBuf>>,
}

/// `[rules]`
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct RulesConfig {
    pub file: PathBuf,
    pub watch_ms: u64,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read settings from {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML")]
    Syntax {
        /// The file.
        origin: String,
        /// What is wrong and where.
        #[source]
        source: toml::de::Error,
    },
    /// A key that does not exist.
    #[error("{origin}: there is no setting {key:?}{}", suggestion.as_ref().map(|meant| format!(", did you mean {meant:?}?")).unwrap_or_default())]
    UnknownKey {
        /// The file, or the environment variable.
        origin: String,
        /// The key.
        key: String,
        /// The key that may have been meant.
        suggestion: Option<String>,
    },
    /// A value of the wrong type.
    #[error("{origin}: {key} is to be {expected}, not {found}")]
    Type {
        /// The file, or the environment variable.
        origin: String,
        /// The key.
        key: String,
        /// The type of its default.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A value out of range.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Config {
    /// Loads the settings: defaults, a file, and variables of the environment.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut settings = parse("the defaults", DEFAULTS)?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            let origin = path.display().to_string();
            overlay(&mut settings, parse(&origin, &text)?, "", &origin)?;
        }
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
                let changes = nested(&path, &value, &settings);
                overlay(&mut settings, changes, "", &name)?;
            }
        }
        let config: Self = Value::Table(settings)
            .try_into()
            .map_err(|source| ConfigError::Syntax { origin: "the settings".into(), source })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key, reason: String| Err(ConfigError::Value { key, reason });
        let runtime = &self.runtime;
        if !(1..=10_000).contains(&self.deployment.partitions) {
            return refuse(
                "deployment.partitions",
                format!("{} is not within 1 and 10000", self.deployment.partitions),
            );
        }
        if runtime.step_records_max == 0 {
            return refuse("runtime.step_records_max", "a step holds at least one record".into());
        }
        if runtime.tick_ms == 0 || runtime.tick_quiet_ms < runtime.tick_ms {
            return refuse("runtime.tick_ms", "it is at least 1, and tick_quiet_ms is not shorter".into());
        }
        // Silence is counted in gaps of at most a tenth of it, so that ticks must come more often than that.
        if runtime.silence_ms < 10 * i64::try_from(runtime.tick_ms).unwrap_or(i64::MAX) {
            return refuse("runtime.silence_ms", format!("{} is shorter than ten ticks", runtime.silence_ms));
        }
        if self.embedded.journal_mib_max < 64 {
            return refuse(
                "embedded.journal_mib_max",
                format!("{} is below 64", self.embedded.journal_mib_max),
            );
        }
        for name in &runtime.publish {
            if schemas::topic::find(name).is_none() {
                return refuse("runtime.publish", format!("there is no topic {name:?}"));
            }
        }
        Ok(())
    }

    /// Returns the number of worker threads.
    pub fn workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let asked = if self.runtime.workers == 0 { cores } else { self.runtime.workers };
        asked.min(self.deployment.partitions as usize)
    }
}

fn parse(origin: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|source| ConfigError::Syntax { origin: origin.to_owned(), source })
}

/// Puts values in the place of defaults, each of the default's type.
fn overlay(settings: &mut Table, changes: Table, prefix: &str, origin: &str) -> Result<(), ConfigError> {
    for (name, value) in changes {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if FREE.contains(&prefix) {
            settings.insert(name, value);
            continue;
        }
        let Some(default) = settings.get_mut(&name) else {
            let suggestion = likest(&name, settings.keys());
            return Err(ConfigError::UnknownKey { origin: origin.to_owned(), key, suggestion });
        };
        match (default, value) {
            (Value::Table(default), Value::Table(value)) => overlay(default, value, &key, origin)?,
            (default, value) if default.type_str() == value.type_str() => *default = value,
            (default, value) => {
                let (expected, found) = (default.type_str(), value.type_str());
                return Err(ConfigError::Type { origin: origin.to_owned(), key, expected, found });
            }
        }
    }
    Ok(())
}

/// Returns the table that an environment variable stands for: its value is read as the type of the default.
fn nested(path: &[String], text: &str, settings: &Table) -> Table {
    let mut table = Table::new();
    let Some((first, rest)) = path.split_first() else { return table };
    let default = settings.get(first);
    let value = match (rest.is_empty(), default) {
        (false, Some(Value::Table(inner))) => Value::Table(nested(rest, text, inner)),
        (false, _) => Value::Table(nested(rest, text, &Table::new())),
        (true, Some(Value::String(_))) => Value::String(text.to_owned()),
        // Anything but a text is written as in the file; what is no TOML is a text, and refused by its type.
        (true, _) => format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(text.to_owned())),
    };
    table.insert(first.clone(), value);
    table
}

fn likest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let scored = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then(|| best.1.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tamiz.toml");
        std::fs::write(&path, file).expect("a file is written");
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(&path), environment)
    }

    #[test]
    fn the_defaults_are_valid_and_the_environment_wins_over_the_file() {
        let config = load(
            "[deployment]\npartitions = 8\n[kafka]\nclient = { \"sasl.mechanism\" = \"PLAIN\" }\n",
            &[("TAMIZ__DEPLOYMENT__PARTITIONS", "6"), ("TAMIZ__KAFKA__INSTANCE", "7"), ("HOME", "/")],
        );
        let config = config.expect("the settings are valid");
        assert_eq!((config.deployment.partitions, config.kafka.instance.as_str()), (6, "7"));
        assert_eq!(config.kafka.client["sasl.mechanism"], "PLAIN");
        assert_eq!(config.runtime.publish, ["signals"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_what_may_have_been_meant() {
        let message =
            |file, environment| load(file, environment).expect_err("the key is unknown").to_string();
        assert!(message("[runtime]\nworker = 2\n", &[]).contains("did you mean \"workers\"?"));
        let text = message("", &[("TAMIZ__KAFKA__BOOTSTRAP", "x")]);
        assert!(text.contains("TAMIZ__KAFKA__BOOTSTRAP") && text.contains("\"bootstrap_servers\""), "{text}");
        assert!(message("[nowhere]\nx = 1\n", &[]).contains("nowhere"));
    }

    #[test]
    fn a_value_of_the_wrong_type_or_out_of_range_is_refused() {
        let message = |file| load(file, &[]).expect_err("the value is wrong").to_string();
        assert!(
            message("[runtime]\nworkers = \"two\"\n")
                .contains("runtime.workers is to be integer, not string")
        );
        assert!(message("[deployment]\npartitions = 0\n").contains("deployment.partitions"));
        assert!(message("[runtime]\nsilence_ms = 100\n").contains("ten ticks"));
    }
}
