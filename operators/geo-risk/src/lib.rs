//! Judges the places of a session: where the device is and where the person says to live, each on its own.
//!
//! For each place given as coordinates: the country, and whether it is inside or near a prison; for both together
//! their distance on the WGS 84 ellipsoid. The signal is `geo`, its fields are in
//! `schemas/avro/parts/geo-signal.avsc`, and `docs/signals/geo.md` says what each means. What a position is too coarse
//! to tell stays null.

use geodata::{DataConfig, DataSets, NEAR_DISTANCE_M, Places, Position, PrisonFacts, distance_m};
use pipeline::{
    Built, Descriptor, Event, HostContext, Operator, Registration, Reject, Step, TimeSource, Verdict,
};
use schemas::topic::{ACCEPTED, SIGNALS};
use schemas::{Accepted, GeoPlace, GeoSignal, Place, Session};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Name of the operator.
pub const NAME: &str = "geo-risk";
/// Name of its signal.
pub const SIGNAL: &str = "geo";

/// How a process hosts the operator.
pub const REGISTRATION: Registration = Registration { name: NAME, input: &ACCEPTED, build };

fn build(context: &HostContext) -> Result<Built, Box<dyn std::error::Error + Send + Sync>> {
    let data = context.shared(|config| {
        let files = DataConfig::from_settings(&config.data.assets_folder, &config.data.files)?;
        DataSets::open(&files)
    })?;
    let operator = GeoRisk::new(Arc::clone(&data.places), &data.hashes);
    Ok(Built { operator: Arc::new(operator), libraries: Vec::new() })
}

/// The operator.
pub struct GeoRisk {
    descriptor: Descriptor,
    places: Arc<Places>,
    hashes: BTreeMap<String, String>,
}

impl GeoRisk {
    /// Makes the operator over reference data with the content hashes of its data sets; those of other operators are
    /// left out.
    pub fn new(places: Arc<Places>, hashes: &BTreeMap<String, String>) -> Self {
        let descriptor = Descriptor {
            name: NAME,
            version: env!("CARGO_PKG_VERSION"),
            input: &ACCEPTED,
            outputs: &[&SIGNALS],
            tables: &[],
            time: TimeSource::Progress { operators: vec!["intake".to_owned()], silence_ms: i64::MAX },
            progress_to: &[&SIGNALS],
        };
        let own = hashes.iter().filter(|(name, _)| name.starts_with("places."));
        let hashes = own.map(|(name, hash)| (name.clone(), hash.clone())).collect();
        Self { descriptor, places, hashes }
    }

    fn judge(&self, session: &Session) -> Option<GeoSignal> {
        let location = session.location.as_ref().and_then(coordinates);
        let address = session.address.as_ref().and_then(coordinates);
        if location.is_none() && address.is_none() {
            return None;
        }
        Some(GeoSignal {
            location: location.map(|place| self.judge_place(place)),
            address: address.map(|place| self.judge_place(place)),
            address_location_distance_m: location
                .zip(address)
                .map(|(location, address)| distance_m(location.0, address.0)),
        })
    }

    fn judge_place(&self, (position, accuracy_m): (Position, Option<f64>)) -> GeoPlace {
        let prison = self.places.prison(position);
        let hint = prison.low_confidence_hint;
        let country_code = self.places.country(position).map(str::to_owned);
        let place = GeoPlace { country_code, accuracy_m, ..GeoPlace::default() };
        match (hint, prison.inside) {
            (Some(hint), None) => GeoPlace {
                prison_distance_m: Some(hint.distance_m),
                prison_name: Some(hint.name.to_owned()),
                prison_accuracy_m: Some(hint.accuracy_m),
                ..place
            },
            _ => GeoPlace {
                inside_prison: prison.inside.filter(|_| is_fine_enough(&prison, accuracy_m)),
                prison_distance_m: prison.distance_m,
                prison_name: prison.name.map(str::to_owned),
                prison_accuracy_m: prison.accuracy_m,
                ..place
            },
        }
    }
}

/// Tells whether a position is fine enough for the prison rules: its accuracy is within their threshold, or no place
/// within its accuracy would change the answer.
fn is_fine_enough(prison: &PrisonFacts<'_>, accuracy_m: Option<f64>) -> bool {
    let Some(accuracy_m) = accuracy_m.filter(|accuracy_m| *accuracy_m > NEAR_DISTANCE_M) else { return true };
    match prison.edge_distance_m {
        Some(edge_distance_m) if prison.inside == Some(true) => edge_distance_m >= accuracy_m,
        Some(edge_distance_m) => edge_distance_m >= accuracy_m + NEAR_DISTANCE_M,
        None => accuracy_m + NEAR_DISTANCE_M <= geodata::SEARCH_DISTANCE_M,
    }
}

fn coordinates(place: &Place) -> Option<(Position, Option<f64>)> {
    Some((Position::new(place.lat?, place.lng?)?, place.accuracy_m))
}

impl Operator for GeoRisk {
    type Input = Arc<Accepted>;

    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn on_event(&self, event: Event<Arc<Accepted>>, step: &mut Step<'_>) -> Result<(), Reject> {
        // Fusion expects no signal of a session without coordinates.
        if let Some(body) = self.judge(&event.input.session) {
            step.emit_verdict(&event, Verdict::ok(SIGNAL, &self.hashes, body));
        }
        Ok(())
    }
}
