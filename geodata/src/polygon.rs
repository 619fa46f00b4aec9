//! A polygon on the ellipsoid: whether a position is inside, and how far away its edge is.
//!
//! An edge is straight in longitude and latitude, as GeoJSON has it. Inside is decided in that plane by
//! the even-odd rule over all rings, so that holes are outside, and a ring that crosses itself encloses
//! what an odd number of its turns surrounds. The distance is found among short chords of the edges in
//! space, where neither poles nor the antimeridian are special, and then measured on the ellipsoid.

use crate::distance::{Position, Vector, distance_m, surface, surface_step, wrap_longitude};

/// A prison is hundreds of metres wide; what is wider than this is another thing, or broken data.
pub(crate) const RADIUS_M_MAX: f64 = 200_000.0;
/// Edges are cut until a chord strays sideways from its edge by no more than this.
const CHORD_ERROR_M_MAX: f64 = 0.000_5;
/// Edges are cut to this length, at which a chord is 5 mm below the surface.
const CHORD_LENGTH_M_MAX: f64 = 500.0;
/// Halving an edge this often cuts the longest possible one to centimetres.
const CUT_DEPTH_MAX: u32 = 28;
/// A position this near to the edge is on it, and so inside.
const ON_EDGE_M: f64 = 0.001;
/// Each step squares the error of the foot point, and the first guess is within millimetres.
const REFINEMENT_COUNT: usize = 3;
/// Parallels tried in search of a position inside; the first one is enough for all but slivers.
const INNER_PARALLEL_COUNT: u32 = 64;

/// The rings of one polygon, prepared for questions.
#[derive(Clone, Debug)]
pub(crate) struct Polygon {
    rings: Vec<Vec<Point>>,
    /// The range of longitudes that the rings use; it may leave ±180.
    longitude_middle: f64,
    longitude_min: f64,
    longitude_max: f64,
    latitude_min: f64,
    latitude_max: f64,
    centre: Vector,
    radius_m: f64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    latitude: f64,
    longitude: f64,
    at: Vector,
}

impl Point {
    fn new(latitude: f64, longitude: f64) -> Point {
        Point { latitude, longitude, at: surface(latitude, longitude) }
    }

    fn between(from: Point, to: Point, share: f64) -> Point {
        Point::new(
            from.latitude + (to.latitude - from.latitude) * share,
            from.longitude + (to.longitude - from.longitude) * share,
        )
    }
}

/// The chord nearest to a position, found in space.
pub(crate) struct NearestEdge {
    ring: usize,
    index: usize,
    share: f64,
    /// The straight distance through space, a little less than the one on the surface.
    pub chord_m: f64,
}

impl Polygon {
    /// Prepares the closed rings of a polygon, given as (longitude, latitude) in degrees; the first ring
    /// is the outer one. The error says what is wrong with the rings.
    pub(crate) fn new(rings: &[Vec<(f64, f64)>], point_count_left: &mut usize) -> Result<Polygon, String> {
        let mut unwrapped = Vec::with_capacity(rings.len());
        for (index, ring) in rings.iter().enumerate() {
            unwrapped.push(unwrap_ring(ring).map_err(|reason| format!("ring {index} {reason}"))?);
        }
        let outer = unwrapped.first().ok_or("it has no ring")?;
        let (longitude_min, longitude_max) = extent(outer.iter().map(|point| point.0));
        let (latitude_min, latitude_max) = extent(outer.iter().map(|point| point.1));
        if longitude_min >= longitude_max || latitude_min >= latitude_max {
            return Err("ring 0 encloses nothing".to_owned());
        }
        let longitude_middle = f64::midpoint(longitude_min, longitude_max);
        let (centre, radius_m) = enclosing_sphere(outer);
        if radius_m > RADIUS_M_MAX {
            return Err(format!(
                "it reaches {:.0} km from its middle, more than the {:.0} km of a site",
                radius_m / 1000.0,
                RADIUS_M_MAX / 1000.0
            ));
        }
        let mut polygon = Polygon {
            rings: Vec::with_capacity(rings.len()),
            longitude_middle,
            longitude_min,
            longitude_max,
            latitude_min,
            latitude_max,
            centre,
            radius_m,
        };
        for ring in unwrapped {
            // A hole may be written on the other side of the antimeridian.
            let turns = ((longitude_middle - ring[0].0) / 360.0).round() * 360.0;
            let points = ring.iter().map(|&(longitude, latitude)| (longitude + turns, latitude));
            polygon.add_ring(&points.collect::<Vec<_>>(), point_count_left)?;
        }
        Ok(polygon)
    }

    /// Returns the middle of the sphere around the polygon and its radius in metres, slack included.
    pub(crate) fn sphere(&self) -> (Vector, f64) {
        (self.centre, self.radius_m)
    }

    /// Returns the corners, cut edges included, as (latitude, longitude).
    pub(crate) fn corners(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.rings.iter().flatten().map(|point| (point.latitude, wrap_longitude(point.longitude)))
    }

    /// Returns whether `position` is inside by the even-odd rule; on the edge it is either.
    pub(crate) fn encloses(&self, position: Position) -> bool {
        let latitude = position.latitude();
        let turns = ((self.longitude_middle - position.longitude()) / 360.0).round() * 360.0;
        let longitude = position.longitude() + turns;
        let is_near = (self.latitude_min..=self.latitude_max).contains(&latitude)
            && (self.longitude_min..=self.longitude_max).contains(&longitude);
        if !is_near {
            return false;
        }
        self.crossings(latitude).filter(|crossing| longitude < *crossing).count() % 2 == 1
    }

    /// Returns a position inside, in the middle of the widest stretch of some parallel.
    pub(crate) fn inner_position(&self) -> Option<Position> {
        (1..INNER_PARALLEL_COUNT).find_map(|step| {
            // Multiples of an irrational number spread evenly and avoid the latitudes of corners.
            let share = (f64::from(step) * std::f64::consts::SQRT_2).fract();
            let latitude = self.latitude_min + (self.latitude_max - self.latitude_min) * share;
            let mut crossings: Vec<f64> = self.crossings(latitude).collect();
            crossings.sort_unstable_by(f64::total_cmp);
            let widest = crossings.chunks_exact(2).max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])))?;
            let position = Position::new(latitude, wrap_longitude(f64::midpoint(widest[0], widest[1])))?;
            self.encloses(position).then_some(position)
        })
    }

    /// Returns the longitudes at which the rings cross a parallel.
    fn crossings(&self, latitude: f64) -> impl Iterator<Item = f64> + '_ {
        let pairs = self.rings.iter().flat_map(|ring| ring.windows(2));
        pairs.filter_map(move |pair| {
            let (from, to) = (pair[0], pair[1]);
            if (from.latitude > latitude) == (to.latitude > latitude) {
                return None;
            }
            let share = (latitude - from.latitude) / (to.latitude - from.latitude);
            Some(from.longitude + (to.longitude - from.longitude) * share)
        })
    }

    /// Returns whether a position at this distance from the edge counts as on it.
    pub(crate) fn is_on_edge(edge_distance_m: f64) -> bool {
        edge_distance_m <= ON_EDGE_M
    }

    /// Returns the edge nearest to the surface point `at`.
    pub(crate) fn nearest_edge(&self, at: Vector) -> NearestEdge {
        let mut best = NearestEdge { ring: 0, index: 0, share: 0.0, chord_m: f64::INFINITY };
        let mut best_squared = f64::INFINITY;
        for (ring, points) in self.rings.iter().enumerate() {
            for (index, pair) in points.windows(2).enumerate() {
                let along = pair[1].at - pair[0].at;
                let to_point = at - pair[0].at;
                let length_squared = along.dot(along);
                let share = if length_squared > 0.0 {
                    (to_point.dot(along) / length_squared).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let away = to_point - along * share;
                let away_squared = away.dot(away);
                if away_squared < best_squared {
                    best_squared = away_squared;
                    best = NearestEdge { ring, index, share, chord_m: away_squared.sqrt() };
                }
            }
        }
        best
    }

    /// Returns the distance on the ellipsoid from `position` to `edge`, which must be its nearest.
    pub(crate) fn edge_distance_m(&self, position: Position, edge: &NearestEdge) -> f64 {
        let ring = &self.rings[edge.ring];
        let (from, to) = (ring[edge.index], ring[edge.index + 1]);
        let at = surface(position.latitude(), position.longitude());
        let mut share = edge.share;
        let mut foot = Point::between(from, to, share);
        for _ in 0..REFINEMENT_COUNT {
            let along = surface_step(
                foot.latitude,
                foot.longitude,
                to.latitude - from.latitude,
                to.longitude - from.longitude,
            );
            let length_squared = along.dot(along);
            if length_squared == 0.0 {
                break;
            }
            share = (share + (at - foot.at).dot(along) / length_squared).clamp(0.0, 1.0);
            foot = Point::between(from, to, share);
        }
        let latitude = foot.latitude.clamp(-90.0, 90.0);
        let foot = Position::new(latitude, wrap_longitude(foot.longitude));
        // Both values were just brought into range, and rings hold finite numbers only.
        foot.map_or(f64::INFINITY, |foot| distance_m(position, foot))
    }

    fn add_ring(&mut self, ring: &[(f64, f64)], point_count_left: &mut usize) -> Result<(), String> {
        let mut points: Vec<Point> = Vec::with_capacity(ring.len());
        for &(longitude, latitude) in ring {
            let to = Point::new(latitude, longitude);
            if let Some(from) = points.last().copied() {
                cut_edge(from, to, 0, &mut points, point_count_left)?;
            }
            take_point(point_count_left)?;
            points.push(to);
        }
        self.rings.push(points);
        Ok(())
    }
}

/// Adds the points between the ends of an edge that keep its chords close to it.
fn cut_edge(
    from: Point,
    to: Point,
    depth: u32,
    points: &mut Vec<Point>,
    point_count_left: &mut usize,
) -> Result<(), String> {
    if depth == CUT_DEPTH_MAX || is_nearly_straight(from, to) {
        return Ok(());
    }
    let middle = Point::between(from, to, 0.5);
    cut_edge(from, middle, depth + 1, points, point_count_left)?;
    take_point(point_count_left)?;
    points.push(middle);
    cut_edge(middle, to, depth + 1, points, point_count_left)
}

fn is_nearly_straight(from: Point, to: Point) -> bool {
    if (to.at - from.at).length() > CHORD_LENGTH_M_MAX {
        return false;
    }
    let middle = Point::between(from, to, 0.5);
    let stray = middle.at - (from.at + to.at) * 0.5;
    // The part along the vertical is the depth of the chord, which the length limits already.
    let up = surface(middle.latitude, middle.longitude);
    let up = up * (1.0 / up.length());
    (stray - up * stray.dot(up)).length() <= CHORD_ERROR_M_MAX
}

fn take_point(point_count_left: &mut usize) -> Result<(), String> {
    *point_count_left = point_count_left.checked_sub(1).ok_or("the file has too many corners")?;
    Ok(())
}

/// Checks a ring and makes its longitudes continuous: a step of more than half a turn is one across the
/// antimeridian.
fn unwrap_ring(ring: &[(f64, f64)]) -> Result<Vec<(f64, f64)>, String> {
    if ring.len() < 4 {
        return Err(format!("has {} positions, but a closed ring has at least 4", ring.len()));
    }
    if ring.first() != ring.last() {
        return Err("is not closed: its last position differs from its first".to_owned());
    }
    let mut unwrapped: Vec<(f64, f64)> = Vec::with_capacity(ring.len());
    for &(longitude, latitude) in ring {
        let before = unwrapped.last().map_or(longitude, |point| point.0);
        let step = longitude - before;
        let turns = if step.abs() > 180.0 { (step / 360.0).round() * 360.0 } else { 0.0 };
        unwrapped.push((longitude - turns, latitude));
    }
    let first = unwrapped[0].0;
    let last = unwrapped[unwrapped.len() - 1].0;
    if (last - first).abs() > 180.0 {
        return Err("goes around a pole, which has no inside in longitude and latitude".to_owned());
    }
    Ok(unwrapped)
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)))
}

/// A sphere around all corners, widened for edges that bulge between them.
fn enclosing_sphere(ring: &[(f64, f64)]) -> (Vector, f64) {
    let corners: Vec<Vector> =
        ring.iter().map(|&(longitude, latitude)| surface(latitude, longitude)).collect();
    let sum = corners.iter().fold(Vector { x: 0.0, y: 0.0, z: 0.0 }, |sum, corner| sum + *corner);
    let centre = sum * (1.0 / corners.len() as f64);
    let mut radius_m = 0f64;
    for pair in ring.windows(2) {
        let (from, to) = (Point::new(pair[0].1, pair[0].0), Point::new(pair[1].1, pair[1].0));
        let middle = Point::between(from, to, 0.5);
        let bulge_m = (middle.at - (from.at + to.at) * 0.5).length();
        radius_m = radius_m.max((from.at - centre).length()).max((middle.at - centre).length() + bulge_m);
    }
    (centre, radius_m + 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn polygon(rings: &[&[(f64, f64)]]) -> Result<Polygon, String> {
        let rings: Vec<Vec<(f64, f64)>> =
            rings.iter().map(|ring| ring.iter().copied().chain(ring.first().copied()).collect()).collect();
        Polygon::new(&rings, &mut 100_000)
    }

    fn square(longitude: f64, latitude: f64, half: f64) -> Vec<(f64, f64)> {
        vec![
            (longitude - half, latitude - half),
            (longitude + half, latitude - half),
            (longitude + half, latitude + half),
            (longitude - half, latitude + half),
        ]
    }

    fn distance(polygon: &Polygon, latitude: f64, longitude: f64) -> f64 {
        let position = Position::new(latitude, wrap_longitude(longitude)).unwrap();
        let edge = polygon.nearest_edge(surface(latitude, longitude));
        polygon.edge_distance_m(position, &edge)
    }

    /// The least distance to points spread densely over the corners' edges: slow, plain, independent of
    /// chords and foot points.
    fn sampled_distance(rings: &[Vec<(f64, f64)>], latitude: f64, longitude: f64, count: usize) -> f64 {
        let position = Position::new(latitude, wrap_longitude(longitude)).unwrap();
        let mut best_m = f64::INFINITY;
        for ring in rings {
            for at in 0..ring.len() {
                let (from, to) = (ring[at], ring[(at + 1) % ring.len()]);
                for step in 0..=count {
                    let share = step as f64 / count as f64;
                    let sample = Position::new(
                        from.1 + (to.1 - from.1) * share,
                        wrap_longitude(from.0 + (to.0 - from.0) * share),
                    );
                    best_m = best_m.min(distance_m(position, sample.unwrap()));
                }
            }
        }
        best_m
    }

    #[test]
    fn a_hole_is_outside() {
        let found = polygon(&[&square(-99.0, 19.0, 0.004), &square(-99.0, 19.0, 0.001)]).unwrap();
        let inside = |latitude, longitude| found.encloses(Position::new(latitude, longitude).unwrap());
        assert!(!inside(19.0, -99.0));
        assert!(inside(19.002, -99.0));
        assert!(!inside(19.005, -99.0));
    }

    #[test]
    fn a_ring_that_crosses_itself_follows_the_even_odd_rule() {
        // A bow tie: both wings are inside, the notches above and below are not.
        let found = polygon(&[&[(0.0, 0.0), (0.01, 0.01), (0.01, 0.0), (0.0, 0.01)]]).unwrap();
        let inside = |latitude, longitude| found.encloses(Position::new(latitude, longitude).unwrap());
        assert!(inside(0.005, 0.001));
        assert!(inside(0.005, 0.009));
        assert!(!inside(0.001, 0.005));
        assert!(!inside(0.009, 0.005));
    }

    #[test]
    fn the_antimeridian_is_a_line_like_any_other() {
        let shapes = [
            // As RFC 7946 forbids and many write it: one ring with a jump.
            vec![(179.99, -17.0), (-179.99, -17.0), (-179.99, -16.98), (179.99, -16.98)],
            // Beyond 180.
            vec![(179.99, -17.0), (180.01, -17.0), (180.01, -16.98), (179.99, -16.98)],
        ];
        for shape in shapes {
            let found = polygon(&[&shape]).unwrap();
            for longitude in [180.0, -180.0, 179.995, -179.995] {
                assert!(found.encloses(Position::new(-16.99, longitude).unwrap()), "{longitude}");
            }
            assert!(!found.encloses(Position::new(-16.99, -179.98).unwrap()));
            assert!(!found.encloses(Position::new(-16.99, 0.0).unwrap()));
            let west_m = distance(&found, -16.99, 179.98);
            let east_m = distance(&found, -16.99, -179.98);
            assert!((west_m - east_m).abs() < 1e-6 && west_m > 1_000.0, "{west_m} {east_m}");
        }
    }

    #[test]
    fn broken_rings_are_refused_with_the_reason() {
        let refuse = |rings: &[Vec<(f64, f64)>], reason: &str| {
            let found = Polygon::new(rings, &mut 100_000).unwrap_err();
            assert!(found.contains(reason), "{found}");
        };
        refuse(&[], "no ring");
        refuse(&[vec![(0.0, 0.0), (1.0, 1.0), (0.0, 0.0)]], "at least 4");
        refuse(&[square(0.0, 0.0, 0.01)], "not closed");
        refuse(&[vec![(0.0, 0.0), (0.1, 0.0), (0.2, 0.0), (0.0, 0.0)]], "encloses nothing");
        let around = [0.0, 90.0, 180.0, -90.0, 0.0].map(|longitude| (longitude, 89.9)).to_vec();
        refuse(&[around], "goes around a pole");
        let wide = square(0.0, 0.0, 5.0);
        refuse(&[wide.iter().copied().chain([wide[0]]).collect()], "200 km");
        let mut left = 4;
        let small = square(0.0, 0.0, 0.001);
        let closed: Vec<_> = small.iter().copied().chain([small[0]]).collect();
        assert!(Polygon::new(&[closed], &mut left).unwrap_err().contains("too many corners"));
    }

    #[test]
    fn a_position_on_the_edge_has_no_distance() {
        let ring = square(-99.7487, 19.4206, 0.003);
        let found = polygon(&[&ring]).unwrap();
        for step in 0..=1000 {
            let share = f64::from(step) / 1000.0;
            let longitude = ring[0].0 + (ring[1].0 - ring[0].0) * share;
            let edge_m = distance(&found, ring[0].1, longitude);
            assert!(Polygon::is_on_edge(edge_m), "{edge_m}");
        }
    }

    #[test]
    fn a_slanted_edge_is_found_to_the_micrometre_at_any_latitude() {
        for latitude in [-75.0, 0.0, 19.4, 60.0, 89.0] {
            let ring = [(10.0, latitude), (10.05, latitude + 0.03), (10.0, latitude + 0.04)];
            let found = polygon(&[&ring]).unwrap();
            for step in 0..=997 {
                let share = f64::from(step) / 997.0;
                let longitude = ring[0].0 + (ring[1].0 - ring[0].0) * share;
                let edge_m = distance(&found, ring[0].1 + (ring[1].1 - ring[0].1) * share, longitude);
                assert!(edge_m < 1e-6, "{latitude} {share} {edge_m}");
            }
        }
    }

    #[test]
    fn chords_stay_close_to_their_edges() {
        for latitude in [0.0, 60.0, 89.0] {
            let found = polygon(&[&square(10.0, latitude, 0.3)]).unwrap();
            for pair in found.rings[0].windows(2) {
                let chord_m = (pair[1].at - pair[0].at).length();
                assert!(chord_m <= CHORD_LENGTH_M_MAX, "{chord_m}");
                let middle = Point::between(pair[0], pair[1], 0.5);
                // What is left of the stray without its vertical part, which is the depth of the chord.
                let stray_m = (middle.at - (pair[0].at + pair[1].at) * 0.5).length();
                let depth_m = chord_m * chord_m / (8.0 * 6_400_000.0);
                assert!(
                    (stray_m * stray_m - depth_m * depth_m).max(0.0).sqrt() < 0.001,
                    "{latitude} {stray_m}"
                );
            }
        }
    }

    #[test]
    fn a_hole_may_be_written_beyond_the_antimeridian() {
        let outer = square(180.0, -17.0, 0.01);
        let hole = square(-180.0, -17.0, 0.002);
        let found = polygon(&[&outer, &hole]).unwrap();
        for longitude in [180.0, -180.0, 179.999, -179.999] {
            assert!(!found.encloses(Position::new(-17.0, longitude).unwrap()), "{longitude}");
            assert!(found.encloses(Position::new(-17.005, longitude).unwrap()), "{longitude}");
        }
        assert!((distance(&found, -17.0, 180.0) - distance(&found, -17.0, -180.0)).abs() < 1e-6);
        assert!(distance(&found, -17.0, 180.0) < 250.0, "the hole's edge is the nearest");
    }

    prop_compose! {
        /// A star-shaped ring about a middle anywhere but the last metres before a pole.
        fn star()(
            latitude in prop_oneof![-89.0..89.0f64, Just(0.0), Just(88.9), Just(-88.9)],
            longitude in prop_oneof![-180.0..180.0f64, Just(180.0), Just(-179.9999)],
            radii_m in prop::collection::vec(20.0..2_000.0f64, 3..12),
        ) -> Vec<(f64, f64)> {
            let count = radii_m.len() as f64;
            radii_m.iter().enumerate().map(|(at, radius_m)| {
                let angle = at as f64 / count * std::f64::consts::TAU;
                let north = radius_m * angle.sin() / 111_000.0;
                let east = radius_m * angle.cos() / (111_000.0 * latitude.to_radians().cos());
                (longitude + east, latitude + north)
            }).collect()
        }
    }

    /// Counts the turns of the ring around the position by summing angles: another way than crossings.
    fn winding_is_odd(ring: &[(f64, f64)], longitude: f64, latitude: f64) -> bool {
        let mut turned = 0.0;
        for at in 0..ring.len() {
            let from = (ring[at].0 - longitude, ring[at].1 - latitude);
            let to = ring[(at + 1) % ring.len()];
            let to = (to.0 - longitude, to.1 - latitude);
            turned += (from.0 * to.1 - from.1 * to.0).atan2(from.0 * to.0 + from.1 * to.1);
        }
        (turned / std::f64::consts::TAU).round() as i64 % 2 != 0
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn inside_agrees_with_counting_turns(ring in star(), probes in prop::collection::vec((-1.2..1.2f64, -1.2..1.2f64), 20)) {
            let found = polygon(&[&ring]).unwrap();
            let (west, east) = extent(ring.iter().map(|point| point.0));
            let (south, north) = extent(ring.iter().map(|point| point.1));
            for (x, y) in probes {
                let longitude = f64::midpoint(west, east) + x * (east - west) / 2.0;
                let latitude = f64::midpoint(south, north) + y * (north - south) / 2.0;
                let position = Position::new(latitude, wrap_longitude(longitude)).unwrap();
                let edge_m = distance(&found, latitude, longitude);
                // Rounding decides on the edge itself.
                if edge_m > 0.001 {
                    prop_assert_eq!(found.encloses(position), winding_is_odd(&ring, longitude, latitude));
                }
            }
        }

        #[test]
        fn distance_agrees_with_dense_samples(ring in star(), bearing in 0.0..std::f64::consts::TAU, away_m in 0.0..5_000.0f64) {
            let found = polygon(&[&ring]).unwrap();
            let latitude = (ring[0].1 + away_m * bearing.sin() / 111_000.0).clamp(-90.0, 90.0);
            let longitude = ring[0].0 + away_m * bearing.cos() / (111_000.0 * ring[0].1.to_radians().cos());
            let found_m = distance(&found, latitude, longitude);
            let count = 2_000;
            let sampled_m = sampled_distance(std::slice::from_ref(&ring), latitude, longitude, count);
            // Samples are at most 5 km / 2000 apart, and the foot is at most half of that from one.
            prop_assert!(found_m <= sampled_m + 0.001, "{} {}", found_m, sampled_m);
            let gap_m = 5_000.0 / count as f64;
            let least_m = (sampled_m * sampled_m - gap_m * gap_m).max(0.0).sqrt();
            prop_assert!(found_m >= least_m - 0.001 || found_m >= sampled_m - gap_m, "{} {}", found_m, sampled_m);
        }
    }

    #[test]
    fn near_fifty_metres_the_error_is_below_a_millimetre() {
        // Due south of a parallel the foot point is known: the line along the meridian.
        for latitude in [-54.8, -33.4, 0.0, 19.42, 32.5, 71.0, 88.0] {
            let half = 0.002;
            let found = polygon(&[&square(-99.0, latitude, half)]).unwrap();
            for wanted_m in [49.99, 50.0, 50.01, 1_000.0] {
                let south = latitude - half;
                let start = Position::new(south, -99.0).unwrap();
                // Walk down the meridian until the wanted distance is reached.
                let (mut near, mut far) = (0.0, 0.1);
                for _ in 0..80 {
                    let middle = f64::midpoint(near, far);
                    let there = Position::new(south - middle, -99.0).unwrap();
                    if distance_m(start, there) < wanted_m { near = middle } else { far = middle }
                }
                let found_m = distance(&found, south - near, -99.0);
                // A parallel bends, so away from the equator its nearest point may be a hair nearer.
                assert!((found_m - wanted_m).abs() < 0.001, "{latitude} {wanted_m} {found_m}");
            }
        }
    }
}
