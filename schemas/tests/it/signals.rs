//! Every signal has a page in `docs/signals` that says what each of its values means.

use schemas::{SignalBody, session_leaves};
use std::path::Path;

#[test]
fn every_value_of_every_signal_is_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/signals");
    let leaves = session_leaves();
    for signal in SignalBody::NAMES {
        let path = folder.join(format!("{signal}.md"));
        let page =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let values: Vec<&str> =
            leaves.iter().filter_map(|leaf| leaf.name.strip_prefix(&format!("{signal}."))).collect();
        assert!(!values.is_empty(), "{signal} has values");
        for value in values {
            // A record within a signal, as in `location.country_code`, has its members described once.
            for name in value.split('.') {
                assert!(
                    page.contains(&format!("`{name}`")),
                    "{} does not say what {value} means",
                    path.display()
                );
            }
        }
    }
}
