//! Positions: where people live, where their devices are, and where prisons make a difference.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use geodata::{
    NEAR_DISTANCE_M, POINT_ACCURACY_M_MAX, Places, Position, PrisonFacts, PrisonSite, SEARCH_DISTANCE_M,
    distance_m,
};

use super::error::{Result, SampleError};
use super::random::{Random, Weighted};
use super::tables::{City, HOME_COUNTRY, Neighbourhood, TABLES};
use super::traits::Trait;

/// Farther from any prison no rule about prisons can be in doubt, however coarse the location.
const PRISON_CLEARANCE_M: f64 = 1_000.0;
/// The coarsest location that is drawn; with [`NEAR_DISTANCE_M`] it stays below the clearance.
const ACCURACY_M_MAX: f64 = 165.0;
/// The distance that the rule about address and location asks for.
pub(super) const FAR_DISTANCE_M: f64 = 100_000.0;
/// Far enough beyond it that streets and walks change nothing.
const FAR_CITY_DISTANCE_M: f64 = 160_000.0;
/// How far an address is spread around the middle of its neighbourhood, or of its city where that has none.
const NEIGHBOURHOOD_DEVIATION_M: f64 = 350.0;
const CITY_DEVIATION_M: f64 = 2_500.0;
/// How often a device is at home, and how far from it otherwise.
const AT_HOME_SHARE: f64 = 0.7;
const AT_HOME_DEVIATION_M: f64 = 25.0;
const AWAY_DISTANCE_M_MEAN: f64 = 2_500.0;
const AWAY_DISTANCE_M_MAX: f64 = 12_000.0;
/// A position that counts as near is between these distances, so that rounding cannot move it over an edge.
const NEAR_DISTANCE_M_RANGE: (f64, f64) = (2.0, NEAR_DISTANCE_M - 5.0);
/// How far inside an outline a position is at least.
const INSIDE_DEPTH_M_MIN: f64 = 2.0;
/// How often a position is drawn anew before one that is known to fit is taken.
const DRAWS_MAX: u32 = 32;
/// Halvings of the way on which a position at a wanted distance lies: enough for a millimetre on 50 km.
const BISECTIONS: u32 = 26;
/// On a sphere with the mean radius, which is true to half a percent: what must be exact is measured afterwards.
const METRES_A_DEGREE: f64 = 6_371_009.0 * TAU / 360.0;

/// Where a person lives, or where a device is: a spot of a city.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub city: &'static City,
    pub neighbourhood: Option<&'static Neighbourhood>,
    centre: Position,
}

/// The spots and prisons of a sample.
pub(super) struct Map<'d> {
    places: &'d Places,
    homes: Weighted<CitySpots>,
    /// Cities abroad, in which people live or travel.
    abroad: Option<Weighted<CitySpots>>,
    residences: Option<Weighted<CitySpots>>,
    prisons: BTreeMap<Trait, Vec<Site>>,
}

#[derive(Clone)]
struct CitySpots {
    city: &'static City,
    spots: Vec<Spot>,
}

/// A prison with a position that is known to show its trait.
struct Site {
    anchor: Position,
    fallback: Position,
    /// How far around the anchor positions are drawn.
    reach_m: f64,
    /// The city nearest to it, in which its visitors live.
    home: CitySpots,
}

impl<'d> Map<'d> {
    /// Looks for spots that no prison casts a doubt on, in the cities of home and of those countries that `is_wanted`
    /// names, and for prisons at home.
    pub(super) fn new(places: &'d Places, is_wanted: impl Fn(&str) -> bool) -> Result<Map<'d>> {
        let spots = |city: &'static City| spots_of(places, city);
        let cities = |keep: &dyn Fn(&City) -> bool| {
            let kept: Vec<&'static City> = TABLES.cities.iter().filter(|city| keep(city)).collect();
            let found = kept.into_iter().map(spots).filter(|found| !found.spots.is_empty());
            Weighted::new(found.map(|found| {
                let population = found.city.population;
                (found, population)
            }))
        };
        let homes = cities(&City::is_home).ok_or(SampleError::NoHome { country: HOME_COUNTRY })?;
        let abroad = cities(&|city| !city.is_home() && is_wanted(&city.country));
        let residences = cities(&|city| !city.is_home() && city.phone.is_some() && is_wanted(&city.country));
        let mut map = Map { places, homes, abroad, residences, prisons: BTreeMap::new() };
        for site in places.prisons() {
            for (shown, site) in map.sites(&site) {
                map.prisons.entry(shown).or_default().push(site);
            }
        }
        Ok(map)
    }

    /// Returns whether there is a prison that can give sessions this trait.
    pub(super) fn has_prison(&self, wanted: Trait) -> bool {
        self.prisons.contains_key(&wanted)
    }

    pub(super) fn has_abroad(&self) -> bool {
        self.abroad.is_some()
    }

    /// Draws where a person at home lives.
    pub(super) fn home(&self, random: &mut Random) -> Spot {
        let home = self.homes.pick(random);
        *random.pick(&home.spots)
    }

    /// Draws a city at home that is far from a spot.
    pub(super) fn far_from(&self, spot: &Spot, random: &mut Random) -> Spot {
        let is_far = |other: &Spot| distance_m(spot.centre, other.centre) > FAR_CITY_DISTANCE_M;
        for _ in 0..DRAWS_MAX {
            let other = self.home(random);
            if is_far(&other) {
                return other;
            }
        }
        let all = self.homes.items().iter().flat_map(|found| &found.spots);
        let farthest = all
            .max_by(|a, b| distance_m(spot.centre, a.centre).total_cmp(&distance_m(spot.centre, b.centre)));
        farthest.copied().unwrap_or(*spot)
    }

    /// Draws a city abroad: one in which people are sampled as living, or any.
    pub(super) fn abroad(&self, is_residence: bool, random: &mut Random) -> Option<Spot> {
        let cities = if is_residence { self.residences.as_ref() } else { self.abroad.as_ref() };
        let city = cities?.pick(random);
        Some(*random.pick(&city.spots))
    }

    /// Draws the position of an address.
    pub(super) fn address(&self, spot: &Spot, random: &mut Random) -> Position {
        let deviation_m =
            if spot.neighbourhood.is_some() { NEIGHBOURHOOD_DEVIATION_M } else { CITY_DEVIATION_M };
        let draw = |random: &mut Random| {
            let (east_m, north_m) = random.normal_pair(deviation_m);
            moved(spot.centre, east_m, north_m)
        };
        self.clear(draw, &spot.city.country, random).unwrap_or(spot.centre)
    }

    /// Draws the position of a device whose owner lives at `address`.
    pub(super) fn around(&self, address: Position, country: &str, random: &mut Random) -> Position {
        let is_at_home = random.chance(AT_HOME_SHARE);
        let draw = |random: &mut Random| {
            if is_at_home {
                let (east_m, north_m) = random.normal_pair(AT_HOME_DEVIATION_M);
                return moved(address, east_m, north_m);
            }
            let away_m = random.exponential(AWAY_DISTANCE_M_MEAN).min(AWAY_DISTANCE_M_MAX);
            towards(address, TAU * random.unit(), away_m)
        };
        self.clear(draw, country, random).unwrap_or(address)
    }

    /// Draws a position at a prison that shows `wanted`, and where somebody who is there lives.
    pub(super) fn at_prison(&self, wanted: Trait, random: &mut Random) -> Option<(Position, Spot)> {
        let site = random.pick(self.prisons.get(&wanted)?);
        let drawn = (0..DRAWS_MAX).find_map(|_| self.draw_at(wanted, site, random));
        Some((drawn.unwrap_or(site.fallback), *random.pick(&site.home.spots)))
    }

    /// Returns the country of a position.
    pub(super) fn country(&self, position: Position) -> Option<&'d str> {
        self.places.country(position)
    }

    fn clear(
        &self,
        draw: impl Fn(&mut Random) -> Position,
        country: &str,
        random: &mut Random,
    ) -> Option<Position> {
        (0..DRAWS_MAX).map(|_| draw(random)).find(|position| is_clear(self.places, *position, country))
    }

    /// Returns what traits a prison can give, each with a position that has been tried.
    fn sites(&self, prison: &PrisonSite<'_>) -> Vec<(Trait, Site)> {
        let anchor = prison.position;
        if self.country(anchor) != Some(HOME_COUNTRY) {
            return Vec::new();
        }
        let reaches = match (prison.is_outlined, prison.accuracy_m) {
            (true, _) => {
                let depth_m = self.places.prison(anchor).edge_distance_m.unwrap_or_default();
                vec![(Trait::InPrison, depth_m), (Trait::NearPrison, depth_m)]
            }
            (false, Some(accuracy_m)) if accuracy_m <= POINT_ACCURACY_M_MAX => vec![(Trait::NearPrison, 0.0)],
            (false, accuracy_m) => {
                let accuracy_m = accuracy_m.unwrap_or(geodata::POINT_ACCURACY_M_ASSUMED);
                vec![(Trait::MaybeNearPrison, accuracy_m)]
            }
        };
        let mut random = Random::new(0, 0);
        let sites = reaches.into_iter().filter_map(|(shown, reach_m)| {
            let mut site = Site { anchor, fallback: anchor, reach_m, home: self.nearest_home(anchor) };
            site.fallback = (0..DRAWS_MAX).find_map(|_| self.draw_at(shown, &site, &mut random))?;
            Some((shown, site))
        });
        sites.collect()
    }

    fn nearest_home(&self, position: Position) -> CitySpots {
        let away_m = |found: &CitySpots| distance_m(position, found.city.centre);
        let homes = self.homes.items().iter();
        let nearest = homes.min_by(|a, b| away_m(a).total_cmp(&away_m(b)));
        // Weighted things are never empty.
        nearest.expect("there is a home").clone()
    }

    fn draw_at(&self, wanted: Trait, site: &Site, random: &mut Random) -> Option<Position> {
        let bearing = TAU * random.unit();
        let drawn = match wanted {
            Trait::NearPrison => self.near_edge(site, bearing, random)?,
            // Well within the doubt, so that the hint is about this prison.
            _ => towards(site.anchor, bearing, site.reach_m * random.unit().sqrt() * 0.9),
        };
        let facts = self.places.prison(drawn);
        let is_home = self.country(drawn) == Some(HOME_COUNTRY);
        (is_home && shows(&facts, wanted)).then_some(drawn)
    }

    /// Walks away from a prison, and back to where it is as far as wanted.
    fn near_edge(&self, site: &Site, bearing: f64, random: &mut Random) -> Option<Position> {
        let (least_m, most_m) = NEAR_DISTANCE_M_RANGE;
        let wanted_m = random.within(least_m, most_m);
        let is_beyond = |away_m: f64| {
            let facts = self.places.prison(towards(site.anchor, bearing, away_m));
            facts.inside != Some(true) && facts.distance_m.is_none_or(|distance_m| distance_m > wanted_m)
        };
        let (mut near_m, mut far_m) = (site.reach_m, site.reach_m + 2.0 * NEAR_DISTANCE_M);
        while !is_beyond(far_m) {
            far_m *= 2.0;
            if far_m > SEARCH_DISTANCE_M {
                return None;
            }
        }
        for _ in 0..BISECTIONS {
            let middle_m = f64::midpoint(near_m, far_m);
            if is_beyond(middle_m) { far_m = middle_m } else { near_m = middle_m }
        }
        Some(towards(site.anchor, bearing, near_m))
    }
}

/// Draws how accurate a location is, from a satellite fix or from the networks around.
pub(super) fn accuracy_m(is_mobile: bool, random: &mut Random) -> f64 {
    let (least, spread) = if is_mobile { (4.0, 9.0) } else { (25.0, 40.0) };
    (least + random.exponential(spread)).min(ACCURACY_M_MAX).round()
}

/// Draws an accuracy that is fine enough for the rules about prisons.
pub(super) fn fine_accuracy_m(random: &mut Random) -> f64 {
    random.between(4, 20) as f64
}

fn spots_of(places: &Places, city: &'static City) -> CitySpots {
    let neighbourhoods = city.neighbourhoods.iter();
    let mut spots: Vec<Spot> = neighbourhoods
        .map(|neighbourhood| Spot { city, neighbourhood: Some(neighbourhood), centre: neighbourhood.centre })
        .collect();
    if spots.is_empty() {
        spots.push(Spot { city, neighbourhood: None, centre: city.centre });
    }
    spots.retain(|spot| is_clear(places, spot.centre, &city.country));
    CitySpots { city, spots }
}

/// Returns whether no rule about places but those about countries and distances can say anything of a position.
fn is_clear(places: &Places, position: Position, country: &str) -> bool {
    if places.country(position) != Some(country) {
        return false;
    }
    let facts = places.prison(position);
    facts.low_confidence_hint.is_none()
        && facts.inside != Some(true)
        && facts.distance_m.is_none_or(|distance_m| distance_m > PRISON_CLEARANCE_M)
}

fn shows(facts: &PrisonFacts<'_>, wanted: Trait) -> bool {
    match wanted {
        Trait::InPrison => {
            facts.inside == Some(true)
                && facts.edge_distance_m.is_some_and(|depth_m| depth_m >= INSIDE_DEPTH_M_MIN)
        }
        Trait::NearPrison => {
            let (least_m, _) = NEAR_DISTANCE_M_RANGE;
            let is_near = |distance_m| (least_m / 2.0..NEAR_DISTANCE_M - 1.0).contains(&distance_m);
            facts.inside == Some(false) && facts.distance_m.is_some_and(is_near)
        }
        _ => facts.inside.is_none() && facts.low_confidence_hint.is_some(),
    }
}

/// Returns the position so far in a direction, to a decimetre.
fn towards(from: Position, bearing: f64, away_m: f64) -> Position {
    let (sin, cos) = bearing.sin_cos();
    moved(from, away_m * sin, away_m * cos)
}

/// Returns a position moved on the tangent plane, in the six decimals that phones give.
fn moved(from: Position, east_m: f64, north_m: f64) -> Position {
    let round = |degrees: f64| (degrees * 1e6).round() / 1e6;
    let latitude = from.latitude() + north_m / METRES_A_DEGREE;
    let longitude = from.longitude() + east_m / (METRES_A_DEGREE * from.latitude().to_radians().cos());
    // Cities and prisons are far from the poles and from the antimeridian.
    Position::new(round(latitude), round(longitude)).unwrap_or(from)
}
