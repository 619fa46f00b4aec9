//! Calling the ordinary clients of registries as programs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::manifest::Source;

/// The largest source has 64 MB packed, which takes a slow line of 1 Mbit/s nine minutes.
const FETCH_TIME_MAX: Duration = Duration::from_secs(20 * 60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The start of what a client printed says why it failed.
const OUTPUT_LENGTH_MAX: usize = 600;

/// What a source gave.
pub(crate) enum Fetched {
    Archive(PathBuf),
    File(PathBuf),
    Bundled,
}

/// Fetches a source into the empty folder `work`; `waiting` hears about each second that passes.
pub(crate) fn fetch(source: &Source, work: &Path, waiting: &mut dyn FnMut(u64)) -> Result<Fetched> {
    match source {
        Source::Bundled => Ok(Fetched::Bundled),
        Source::File { path } => Ok(classify(path.clone())),
        Source::Npm { package, version } => {
            let mut command = Command::new("npm");
            command.args(["pack", "--loglevel=error", "--pack-destination"]).arg(work);
            command.arg("--").arg(format!("{package}@{version}"));
            run(command, &NPM, work, waiting)?;
            only_file(work, "npm")
        }
        Source::Pypi { package, version } => {
            let mut command = Command::new("python3");
            command.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]);
            command.args(["--no-input", "--disable-pip-version-check", "--dest"]).arg(work);
            command.arg("--").arg(format!("{package}=={version}"));
            run(command, &PIP, work, waiting)?;
            only_file(work, "pip")
        }
        Source::Url { url } => {
            let name = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or("");
            let path = work.join(if name.is_empty() { "download" } else { name });
            let mut command = Command::new("curl");
            command.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=https,http,file"]);
            command.arg("--output").arg(&path).arg("--").arg(url);
            run(command, &CURL, work, waiting)?;
            Ok(classify(path))
        }
    }
}

/// A program that fetches, and what to tell people who do not have it.
struct Client {
    name: &'static str,
    advice: &'static str,
    /// What the program prints when a part of itself is missing.
    missing_part: Option<&'static str>,
}

const NPM: Client = Client {
    name: "npm",
    advice: "install Node.js with npm, for instance by `apt-get install npm`",
    missing_part: None,
};
const PIP: Client = Client {
    name: "pip",
    advice: "install Python with pip, for instance by `apt-get install python3-pip`",
    missing_part: Some("No module named pip"),
};
const CURL: Client =
    Client { name: "curl", advice: "install it, for instance by `apt-get install curl`", missing_part: None };

fn run(mut command: Command, client: &Client, work: &Path, waiting: &mut dyn FnMut(u64)) -> Result<()> {
    let missing = || Error::ClientMissing { client: client.name, advice: client.advice };
    let broken = |source| Error::ClientBroken { client: client.name, source };
    // Output goes to a file, because a full pipe that nobody reads would stop the client.
    let log_path = work.with_extension("log");
    let log = File::create(&log_path).map_err(Error::write(&log_path))?;
    let log_too = log.try_clone().map_err(Error::write(&log_path))?;
    command.stdin(Stdio::null()).stdout(log).stderr(log_too);
    let spawned = command.spawn();
    let finished = match spawned {
        Ok(mut child) => wait(&mut child, waiting).map_err(broken),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(broken(error)),
    };
    let printed = fs::read(&log_path).unwrap_or_default();
    // A log that stays is of no use and does no harm.
    let _ = fs::remove_file(&log_path);
    let status = match finished? {
        Some(status) if status.success() => return Ok(()),
        Some(status) => format!(" with {status}"),
        None => format!(" to finish within {} s", FETCH_TIME_MAX.as_secs()),
    };
    let printed = String::from_utf8_lossy(&printed);
    if client.missing_part.is_some_and(|part| printed.contains(part)) {
        return Err(missing());
    }
    Err(Error::ClientFailed { command: shown(&command), status, output: explained(&printed) })
}

fn wait(
    child: &mut std::process::Child,
    waiting: &mut dyn FnMut(u64),
) -> io::Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    let mut told_s = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > FETCH_TIME_MAX {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        if start.elapsed().as_secs() > told_s {
            told_s = start.elapsed().as_secs();
            waiting(told_s);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Puts the usual cause first, because clients bury it.
fn explained(printed: &str) -> String {
    const UNREACHABLE: [&str; 8] = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ETIMEDOUT",
        "ENETUNREACH",
        "name resolution",
        "Could not resolve host",
        "NewConnectionError",
    ];
    // What went wrong comes first; where in the client's own code it did helps nobody here.
    let lines =
        printed.lines().filter(|line| !line.trim_start_matches("npm error").trim_start().starts_with("at "));
    let told = lines.collect::<Vec<_>>().join("\n");
    let told = told.trim();
    let end = told.floor_char_boundary(OUTPUT_LENGTH_MAX);
    let told = if told.is_empty() { "it printed nothing" } else { &told[..end] };
    if UNREACHABLE.iter().any(|sign| printed.contains(sign)) {
        return format!("the registry cannot be reached, is there a network? {told}");
    }
    if printed.contains("from versions: none") {
        return format!("the registry cannot be reached or does not have the package; {told}");
    }
    told.to_owned()
}

fn only_file(work: &Path, client: &'static str) -> Result<Fetched> {
    let entries = fs::read_dir(work).map_err(Error::read(work))?;
    let files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    match files.as_slice() {
        [file] => Ok(classify(file.clone())),
        files => {
            let reason = format!("{client} left {} files instead of one", files.len());
            Err(Error::Invalid { path: work.to_owned(), reason })
        }
    }
}

fn classify(path: PathBuf) -> Fetched {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_archive = [".tgz", ".tar.gz", ".whl", ".zip"].iter().any(|ending| name.ends_with(ending));
    if is_archive { Fetched::Archive(path) } else { Fetched::File(path) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_client_is_named_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client { name: "no-such-program", advice: "install it", missing_part: None };
        let error = run(Command::new("no-such-program"), &client, &folder.path().join("work"), &mut |_| {})
            .unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed; install it");
    }

    #[test]
    fn a_failing_client_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo getaddrinfo EAI_AGAIN >&2; exit 3"]);
        let error = run(command, &NPM, &folder.path().join("work"), &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("is there a network?"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_client_without_its_part_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo /usr/bin/python3: No module named pip; exit 1"]);
        let error = run(command, &PIP, &folder.path().join("work"), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::ClientMissing { client: "pip", .. }), "{error}");
    }

    #[test]
    fn long_output_is_cut_between_letters() {
        assert!(explained(&"ñ".repeat(1000)).len() <= OUTPUT_LENGTH_MAX);
        assert_eq!(explained("  \n"), "it printed nothing");
    }
}
