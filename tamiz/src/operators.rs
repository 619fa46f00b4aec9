//! The operators that a process can host: one line each.

use anyhow::{Context, Result, bail};
use pipeline::{HostContext, Hosting, Registration};
use schemas::Codec;
use std::sync::Arc;

/// Every operator, in the order in which records flow.
pub const OPERATORS: &[&Registration] = &[
    &intake::REGISTRATION,
    // Those that judge a stage, each on its own.
    &ip_intel::REGISTRATION,
    &geo_risk::REGISTRATION,
    // Reads what all of them write.
    &fusion::REGISTRATION,
];

/// Returns the registrations of names, in the order in which records flow.
pub fn registered(names: &[String]) -> Result<Vec<&'static Registration>> {
    for name in names {
        if !OPERATORS.iter().any(|registration| registration.name == name) {
            let known: Vec<&str> = OPERATORS.iter().map(|registration| registration.name).collect();
            bail!("there is no operator {name:?}; there are {}", known.join(", "));
        }
    }
    let chosen = OPERATORS.iter().filter(|registration| names.iter().any(|name| name == registration.name));
    Ok(chosen.copied().collect())
}

/// Joins the operators of a process.
pub fn join(context: &HostContext, hosted: &[String], codec: Arc<Codec>) -> Result<Arc<Hosting>> {
    let deployment = registered(&context.config.deployment.operators)?;
    let hosted = registered(hosted)?;
    if hosted.is_empty() {
        bail!("no operator is to be hosted");
    }
    let hosting =
        pipeline::host::join(context, &hosted, &deployment, codec).context("cannot join the operators")?;
    Ok(Arc::new(hosting))
}
