//! Positions on the WGS84 ellipsoid and the distance between them.

use std::sync::LazyLock;

use geographiclib_rs::{Geodesic, InverseGeodesic};

static WGS84: LazyLock<Geodesic> = LazyLock::new(Geodesic::wgs84);

const EQUATORIAL_RADIUS_M: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;
const ECCENTRICITY_SQUARED: f64 = FLATTENING * (2.0 - FLATTENING);

/// A point on the surface, in degrees, always within range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    latitude: f64,
    longitude: f64,
}

impl Position {
    /// Returns the position, or none where a value is not finite, a latitude beyond ±90 or a longitude
    /// beyond ±180.
    pub fn new(latitude: f64, longitude: f64) -> Option<Position> {
        // Comparisons with NaN are false, so the ranges refuse it too.
        let is_valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        is_valid.then_some(Position { latitude, longitude })
    }

    /// Returns the latitude in degrees, north positive.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Returns the longitude in degrees, east positive.
    pub fn longitude(self) -> f64 {
        self.longitude
    }
}

/// Returns the length in metres of the shortest line on the ellipsoid between two positions.
///
/// The error is below a micrometre, for nearly antipodal positions as well.
pub fn distance_m(from: Position, to: Position) -> f64 {
    // The solver leaves some femtometres between a position and itself.
    if from == to {
        return 0.0;
    }
    WGS84.inverse(from.latitude, from.longitude, to.latitude, to.longitude)
}

/// A vector in the frame that turns with the Earth, in metres from its centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vector {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

impl Vector {
    pub(crate) fn dot(self, other: Vector) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(crate) fn length(self) -> f64 {
        self.dot(self).sqrt()
    }
}

impl std::ops::Add for Vector {
    type Output = Vector;
    fn add(self, other: Vector) -> Vector {
        Vector { x: self.x + other.x, y: self.y + other.y, z: self.z + other.z }
    }
}

impl std::ops::Sub for Vector {
    type Output = Vector;
    fn sub(self, other: Vector) -> Vector {
        Vector { x: self.x - other.x, y: self.y - other.y, z: self.z - other.z }
    }
}

impl std::ops::Mul<f64> for Vector {
    type Output = Vector;
    fn mul(self, factor: f64) -> Vector {
        Vector { x: self.x * factor, y: self.y * factor, z: self.z * factor }
    }
}

/// Returns the vector to a point of the surface; the longitude may be beyond ±180.
pub(crate) fn surface(latitude: f64, longitude: f64) -> Vector {
    let (sin_latitude, cos_latitude) = latitude.to_radians().sin_cos();
    let (sin_longitude, cos_longitude) = longitude.to_radians().sin_cos();
    let normal_radius_m = normal_radius_m(sin_latitude);
    Vector {
        x: normal_radius_m * cos_latitude * cos_longitude,
        y: normal_radius_m * cos_latitude * sin_longitude,
        z: normal_radius_m * (1.0 - ECCENTRICITY_SQUARED) * sin_latitude,
    }
}

/// Returns where the surface point moves, in metres, when latitude and longitude grow by these degrees.
pub(crate) fn surface_step(latitude: f64, longitude: f64, by_latitude: f64, by_longitude: f64) -> Vector {
    let (sin_latitude, cos_latitude) = latitude.to_radians().sin_cos();
    let (sin_longitude, cos_longitude) = longitude.to_radians().sin_cos();
    let normal_radius_m = normal_radius_m(sin_latitude);
    let flattened = 1.0 - ECCENTRICITY_SQUARED * sin_latitude * sin_latitude;
    let meridian_radius_m = normal_radius_m * (1.0 - ECCENTRICITY_SQUARED) / flattened;
    let north_m = by_latitude.to_radians() * meridian_radius_m;
    let east_m = by_longitude.to_radians() * normal_radius_m * cos_latitude;
    Vector {
        x: -north_m * sin_latitude * cos_longitude - east_m * sin_longitude,
        y: -north_m * sin_latitude * sin_longitude + east_m * cos_longitude,
        z: north_m * cos_latitude,
    }
}

fn normal_radius_m(sin_latitude: f64) -> f64 {
    EQUATORIAL_RADIUS_M / (1.0 - ECCENTRICITY_SQUARED * sin_latitude * sin_latitude).sqrt()
}

/// Brings a longitude into -180 to 180.
pub(crate) fn wrap_longitude(longitude: f64) -> f64 {
    if (-180.0..=180.0).contains(&longitude) {
        return longitude;
    }
    let wrapped = (longitude + 180.0).rem_euclid(360.0) - 180.0;
    wrapped.clamp(-180.0, 180.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn position(latitude: f64, longitude: f64) -> Position {
        Position::new(latitude, longitude).unwrap()
    }

    #[test]
    fn known_lines_have_their_known_length() {
        let check = |from: (f64, f64), to: (f64, f64), expected_m: f64, tolerance_m: f64| {
            let found_m = distance_m(position(from.0, from.1), position(to.0, to.1));
            assert!((found_m - expected_m).abs() <= tolerance_m, "{found_m}");
        };
        // One degree along the equator is a·π/180, and the quarter meridian of WGS84 is a published constant.
        check((0.0, 0.0), (0.0, 1.0), EQUATORIAL_RADIUS_M * std::f64::consts::PI / 180.0, 1e-6);
        check((0.0, 0.0), (90.0, 0.0), 10_001_965.729_313, 1e-4);
        // Across the antimeridian and over the pole there is no jump.
        check((0.0, 179.5), (0.0, -179.5), EQUATORIAL_RADIUS_M * std::f64::consts::PI / 180.0, 1e-6);
        check((90.0, 0.0), (90.0, 123.0), 0.0, 1e-6);
        check((0.0, 180.0), (0.0, -180.0), 0.0, 1e-6);
        // The worked example of Vincenty's paper, Flinders Peak to Buninyong, on the GRS80 ellipsoid,
        // which differs from WGS84 by a tenth of a millimetre in its minor axis.
        check(
            (-37.951_033_416_7, 144.424_867_888_9),
            (-37.652_821_138_9, 143.926_495_527_8),
            54_972.271,
            0.001,
        );
    }

    #[test]
    fn positions_out_of_range_are_refused() {
        for (latitude, longitude) in
            [(90.1, 0.0), (-90.1, 0.0), (0.0, 180.1), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert_eq!(Position::new(latitude, longitude), None);
        }
        assert!(Position::new(-90.0, 180.0).is_some());
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_bounded_by_the_chord(
            a in (-90.0..=90.0f64, -180.0..=180.0f64),
            b in (-90.0..=90.0f64, -180.0..=180.0f64),
        ) {
            let (from, to) = (position(a.0, a.1), position(b.0, b.1));
            let there_m = distance_m(from, to);
            prop_assert!((there_m - distance_m(to, from)).abs() < 1e-6);
            let chord_m = (surface(a.0, a.1) - surface(b.0, b.1)).length();
            prop_assert!(there_m >= chord_m - 1e-6);
            prop_assert!(there_m <= 20_003_931.5);
        }

        #[test]
        fn a_small_step_leads_to_the_neighbour(
            latitude in -89.0..89.0f64, longitude in -180.0..180.0f64,
            north in -1e-5..1e-5f64, east in -1e-5..1e-5f64,
        ) {
            let moved = surface(latitude + north, longitude + east) - surface(latitude, longitude);
            let step = surface_step(latitude, longitude, north, east);
            prop_assert!((moved - step).length() < 1e-4);
        }

        #[test]
        fn wrapped_longitudes_stay_on_their_meridian(longitude in -1000.0..1000.0f64) {
            let wrapped = wrap_longitude(longitude);
            prop_assert!((-180.0..=180.0).contains(&wrapped));
            prop_assert!((surface(10.0, wrapped) - surface(10.0, longitude)).length() < 1e-3);
        }
    }
}
