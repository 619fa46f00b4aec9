//! Real Kafka brokers for tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A broker that lives as long as this value, and never longer than this process.
pub struct Broker {
    name: String,
    address: String,
}

impl Broker {
    /// Returns the broker that tests share; each takes topics of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("shared"))
    }

    /// Starts a broker for a test that kills it.
    pub fn start(label: &str) -> Self {
        let name = format!("it-{}-{label}", std::process::id());
        // The older broker has another group coordinator.
        let service = std::env::var("TAMIZ_KAFKA").unwrap_or_else(|_| "kafka".to_owned());
        let printed =
            services(&["start", &service, "--name", &name, "--owner", &std::process::id().to_string()]);
        let address = printed.trim().rsplit('=').next().expect("a line NAME=ADDRESS").to_owned();
        Self { name, address }
    }

    /// Returns where the broker listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the broker as a loss of power does.
    pub fn kill(&self) {
        services(&["kill", &self.name]);
    }

    /// Starts the broker again with what it had.
    pub fn restart(&self) {
        services(&["restart", &self.name]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        services(&["stop", &self.name]);
    }
}

/// Runs `script/services`, and fails the test with what it says: a machine that is not set up is told how.
fn services(arguments: &[&str]) -> String {
    let script = std::env::var_os("TAMIZ_SERVICES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../script/services"), PathBuf::from);
    let output = Command::new(&script).args(arguments).output().unwrap_or_else(|error| {
        panic!("cannot run {}: {error}; run script/setup test first", script.display())
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "services {arguments:?} failed (script/setup test installs them): {said}"
    );
    String::from_utf8(output.stdout).expect("services print text")
}
