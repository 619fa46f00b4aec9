//! What docker-compose.yml, its dashboard and its Prometheus name exists in our binaries.

use clap::Parser;
use pipeline::config::Config;
use std::collections::BTreeSet;
use std::path::Path;
use tamiz::cli::Cli;
use tamiz::operators::OPERATORS;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the commands of the services that run our image.
fn commands() -> Vec<Vec<String>> {
    let compose = read("docker-compose.yml");
    let lists = compose.lines().filter_map(|line| line.trim().strip_prefix("command: "));
    let lists = lists.filter_map(|list| serde_json::from_str::<Vec<String>>(list).ok());
    lists.filter(|command| command[0].starts_with("tamiz")).collect()
}

#[test]
fn every_command_is_a_binary_of_ours_with_arguments_it_takes() {
    let commands = commands();
    let operators: BTreeSet<String> =
        OPERATORS.iter().map(|operator| format!("tamiz-{}", operator.name)).collect();
    let hosted: BTreeSet<String> =
        commands.iter().map(|command| command[0].clone()).filter(|name| name != "tamiz").collect();
    assert_eq!(hosted, operators, "every operator is a service, and nothing else is");
    for command in commands.iter().filter(|command| command[0] == "tamiz") {
        Cli::try_parse_from(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
}

#[test]
fn every_environment_name_is_a_setting() {
    let compose = read("docker-compose.yml");
    let settings: Vec<(String, String)> = compose
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| name.starts_with("TAMIZ__"))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    assert!(settings.len() > 5, "{settings:?}");
    let config = Config::load(None, settings.into_iter()).expect("the settings are valid");
    let port = port_of(&config.telemetry.listen);
    assert!(compose.contains(&format!("- \"{port}\"")), "the metrics port {port} is exposed");
    assert!(
        read("deploy/prometheus.yml").contains(&format!("port: {port}")),
        "the metrics port {port} is scraped"
    );
    let port = port_of(&config.http.listen);
    assert!(compose.contains(&format!(":{port}\"")), "the HTTP port {port} is published");
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}

#[test]
fn every_metric_of_the_dashboard_is_one_of_ours() {
    let ours: BTreeSet<&str> = pipeline::telemetry::METRICS.iter().map(|(name, _)| *name).collect();
    let dashboard = read("deploy/grafana/dashboards/tamiz.json");
    let mut named = BTreeSet::new();
    for (place, _) in dashboard.match_indices("tamiz_") {
        let name = &dashboard[place..];
        let end = name
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(name.len());
        named.insert(name[..end].trim_end_matches("_bucket").to_owned());
    }
    assert!(named.len() > 5, "{named:?}");
    for name in &named {
        assert!(ours.contains(name.as_str()), "the dashboard shows {name}, which nobody measures");
    }
}
