//! `tamiz explain`: a decision told so that somebody who knows nothing of the system understands it.
//!
//! Reading order: this file finds the decisions of a session, in a file or in the log; `account` tells one;
//! `phrases` holds the words of each language.

mod account;
mod phrases;

use crate::access::{Access, Reach};
use crate::client::Client;
use crate::progress::Progress;
use crate::text::{Style, counted};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use pipeline::config::Config;
use schemas::json::decision_to_json;
use schemas::topic::{DECISIONS, DECISIONS_LATEST};
use schemas::{Decision, Key};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Tell why a session was decided as it was, in words.
///
/// Finds the decision in the log, or in a file of decisions as `tamiz run` writes it. Earlier revisions are listed with
/// what changed.
///
/// Example: tamiz explain s-1 --decisions decisions.jsonl --language es
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Session.
    #[arg(value_name = "SESSION_ID")]
    pub session_id: String,
    /// Its tenant; if left out, the only one that has a session of this id.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Decisions as JSON lines, in the place of the log; `-` for the standard input.
    #[arg(long, value_name = "FILE")]
    pub decisions: Option<PathBuf>,
    /// Tell this revision; the last, if left out.
    #[arg(long, value_name = "NUMBER")]
    pub revision: Option<u64>,
    /// Language of the account.
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    pub language: Language,
    /// Print a JSON object: the decision, and all revisions found.
    #[arg(long)]
    pub json: bool,
    /// Ask the HTTP interface at this address, as in http://127.0.0.1:8080; it knows the last revision only.
    #[arg(long, value_name = "URL", conflicts_with = "decisions")]
    pub url: Option<String>,
}

/// Language of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English.
    En,
    /// Spanish.
    Es,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, config: &Config) -> Result<()> {
    let revisions = find(args, config)?;
    tell(args, &revisions, Style::of_stdout(), &mut std::io::stdout().lock())
}

/// Tells a decision, given all the revisions that were found.
pub fn tell(args: &ExplainArgs, revisions: &[Value], style: Style, out: &mut dyn Write) -> Result<()> {
    let number = |decision: &Value| decision["revision"].as_u64().unwrap_or(0);
    let wanted = |decision: &&Value| args.revision.is_none_or(|revision| number(decision) == revision);
    let Some(decision) = revisions.iter().rev().find(wanted) else {
        let known: Vec<String> = revisions.iter().map(|decision| number(decision).to_string()).collect();
        bail!("the revision asked for is not among those found: {}", known.join(", "));
    };
    if args.json {
        writeln!(out, "{}", json!({ "decision": decision, "revisions": revisions }))?;
        return Ok(());
    }
    account::write(decision, revisions, args.language, style, out)
}

/// Returns the revisions of a session's decision, in their order; at least one.
fn find(args: &ExplainArgs, config: &Config) -> Result<Vec<Value>> {
    let mut found = Found::new(args);
    match &args.decisions {
        Some(file) => found.read_file(file)?,
        None => match Reach::open(config, args.url.as_deref(), Access::open_existing)? {
            Reach::Log(access) => found.read_log(&access)?,
            Reach::Http(client) => found.ask(&client)?,
        },
    }
    found.finish()
}

/// The decisions of one session id that were found so far.
struct Found<'a> {
    args: &'a ExplainArgs,
    decisions: Vec<Value>,
}

/// Whose decision a line holds: what is looked at before the whole of it is read.
#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    session_id: Cow<'a, str>,
    #[serde(borrow)]
    decision_id: Cow<'a, str>,
}

impl<'a> Found<'a> {
    fn new(args: &'a ExplainArgs) -> Self {
        Self { args, decisions: Vec::new() }
    }

    fn is_wanted(&self, tenant: &str, session_id: &str) -> bool {
        session_id == self.args.session_id
            && self.args.tenant.as_deref().is_none_or(|wanted| wanted == tenant)
    }

    fn read_file(&mut self, file: &Path) -> Result<()> {
        let (name, mut reader): (String, Box<dyn BufRead>) = if file == Path::new("-") {
            ("the standard input".to_owned(), Box::new(BufReader::new(std::io::stdin())))
        } else {
            let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
            (file.display().to_string(), Box::new(BufReader::with_capacity(1 << 20, opened)))
        };
        let mut text = String::new();
        for line in 1_u64.. {
            text.clear();
            if reader.read_line(&mut text).with_context(|| format!("cannot read {name}, line {line}"))? == 0 {
                return Ok(());
            }
            if text.trim().is_empty() {
                continue;
            }
            let no_decision =
                || format!("{name}, line {line}, is no decision; `tamiz run` writes a file of decisions");
            let ids: Ids<'_> = serde_json::from_str(&text).with_context(no_decision)?;
            if self.is_wanted(&ids.tenant, &ids.session_id) && !ids.decision_id.is_empty() {
                self.decisions.push(serde_json::from_str(&text).with_context(no_decision)?);
            }
        }
        Ok(())
    }

    /// Looks the last decision up by its key, and reads the topic of all decisions only where there are revisions
    /// before it, or where the tenant is not known.
    fn read_log(&mut self, access: &Access) -> Result<()> {
        let tenant = self.args.tenant.as_deref().unwrap_or(intake::DEFAULT_TENANT);
        let key = Key::of_session(tenant, &self.args.session_id);
        let last = access
            .edge
            .find_compacted(&DECISIONS_LATEST, key.as_bytes())
            .with_context(|| format!("cannot look the decision up in topic {}", DECISIONS_LATEST.name))?;
        let last = last.and_then(|record| record.value);
        let last = last.map(|bytes| access.codec.decode::<Decision>(&bytes)).transpose();
        let last = last.context("cannot read the last decision")?;
        let missing = match &last {
            Some(last) => u64::try_from(last.revision).unwrap_or(1).saturating_sub(1),
            None if self.args.tenant.is_some() => return Ok(()),
            None => u64::MAX,
        };
        self.decisions.extend(last.as_ref().map(decision_to_json));
        if missing > 0 { self.read_revisions(access, missing) } else { Ok(()) }
    }

    fn read_revisions(&mut self, access: &Access, mut missing: u64) -> Result<()> {
        let mut progress = Progress::new(self.args.json);
        let mut read = 0;
        let tenant = self.decisions.first().map(|last| last["tenant"].clone());
        access.scan(&DECISIONS, |record| {
            read += 1;
            progress.show(|| format!("{} read", counted(read, "decision")));
            let key = record.key.clone().map(Key::from_bytes);
            let (Some((of, session_id)), Some(bytes)) = (key.as_ref().and_then(Key::session), &record.value)
            else {
                return Ok(ControlFlow::Continue(()));
            };
            if self.is_wanted(of, session_id) && tenant.as_ref().is_none_or(|tenant| tenant == of) {
                let decision: Decision = access.codec.decode(bytes).context("cannot read a decision")?;
                self.decisions.push(decision_to_json(&decision));
                missing = missing.saturating_sub(1);
            }
            Ok(if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    fn ask(&mut self, client: &Client) -> Result<()> {
        let tenant = self.args.tenant.as_deref().unwrap_or(intake::DEFAULT_TENANT);
        self.decisions.extend(client.decision(tenant, &self.args.session_id)?);
        Ok(())
    }

    /// Puts the revisions in order, each once.
    fn finish(mut self) -> Result<Vec<Value>> {
        let session_id = &self.args.session_id;
        let tenants: BTreeSet<&str> =
            self.decisions.iter().filter_map(|decision| decision["tenant"].as_str()).collect();
        if tenants.len() > 1 {
            let tenants = tenants.into_iter().collect::<Vec<_>>().join(", ");
            bail!("several tenants have a session {session_id:?}; name one of them with --tenant: {tenants}");
        }
        if self.decisions.is_empty() {
            let of = match &self.args.tenant {
                Some(tenant) => format!(" of tenant {tenant:?}"),
                None if self.args.decisions.is_some() => String::new(),
                None => format!(" of tenant {:?}; --tenant names another", intake::DEFAULT_TENANT),
            };
            bail!("there is no decision of session {session_id:?}{of}");
        }
        self.decisions.sort_by_key(|decision| decision["revision"].as_u64());
        self.decisions.dedup_by(|one, other| one["decision_id"] == other["decision_id"]);
        Ok(self.decisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(session_id: &str, tenant: Option<&str>) -> ExplainArgs {
        ExplainArgs {
            session_id: session_id.into(),
            tenant: tenant.map(str::to_owned),
            decisions: Some(PathBuf::from("-")),
            revision: None,
            language: Language::En,
            json: false,
            url: None,
        }
    }

    fn decision(tenant: &str, revision: u64) -> Value {
        json!({ "tenant": tenant, "session_id": "s-1", "revision": revision, "decision_id": format!("{tenant}-{revision}") })
    }

    fn finish(args: &ExplainArgs, decisions: Vec<Value>) -> Result<Vec<Value>> {
        Found { args, decisions }.finish()
    }

    #[test]
    fn revisions_are_in_order_and_each_is_there_once() {
        let args = args("s-1", None);
        let found = finish(&args, vec![decision("a", 2), decision("a", 1), decision("a", 2)]);
        let numbers: Vec<Value> =
            found.expect("there are two").iter().map(|decision| decision["revision"].clone()).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn two_tenants_or_none_are_told() {
        let error = finish(&args("s-1", None), vec![decision("a", 1), decision("b", 1)]);
        assert!(error.expect_err("the session is not one").to_string().contains("--tenant: a, b"));
        let error = finish(&args("s-1", Some("c")), Vec::new()).expect_err("there is none").to_string();
        assert_eq!(error, "there is no decision of session \"s-1\" of tenant \"c\"");
    }

    #[test]
    fn a_revision_that_is_not_there_is_told_with_those_that_are() {
        let mut args = args("s-1", None);
        args.revision = Some(3);
        let error = tell(&args, &[decision("a", 1), decision("a", 2)], Style::plain(), &mut Vec::new());
        assert!(error.expect_err("there is no third").to_string().ends_with("found: 1, 2"));
    }
}
