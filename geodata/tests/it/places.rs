//! Countries of positions, and prisons around them.

use geodata::{DataSets, Places, Position, PrisonFacts, distance_m};
use proptest::prelude::*;

use crate::{Folder, chain, open};

fn at(latitude: f64, longitude: f64) -> Position {
    Position::new(latitude, longitude).unwrap()
}

fn prisons(content: &str) -> DataSets {
    let folder = Folder::new();
    let path = folder.file("prisons.txt", content);
    open(&[format!("places.prisons={}", path.display())]).unwrap()
}

fn refusal(content: &str) -> String {
    let folder = Folder::new();
    let path = folder.file("prisons.json", content);
    chain(&open(&[format!("places.prisons={}", path.display())]).err().expect("the file is refused"))
}

fn collection(features: &[String]) -> String {
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
}

fn square(longitude: f64, latitude: f64, half: f64) -> String {
    let (west, east, south, north) = (longitude - half, longitude + half, latitude - half, latitude + half);
    format!("[[{west},{south}],[{east},{south}],[{east},{north}],[{west},{north}],[{west},{south}]]")
}

fn feature(properties: &str, kind: &str, coordinates: &str) -> String {
    format!(
        r#"{{"type":"Feature","properties":{properties},"geometry":{{"type":"{kind}","coordinates":{coordinates}}}}}"#
    )
}

fn altiplano() -> String {
    let rings = format!("[{},{}]", square(-99.75, 19.42, 0.003), square(-99.75, 19.42, 0.0005));
    feature(r#"{"name":"Altiplano","id":"mx-1"}"#, "Polygon", &rings)
}

#[test]
fn inside_near_and_far_of_an_outline() {
    let data_sets = prisons(&collection(&[altiplano()]));
    let places = &data_sets.places;
    assert_eq!((places.has_prisons(), places.prison_count()), (true, 1));

    let inside = places.prison(at(19.422, -99.75));
    assert_eq!((inside.inside, inside.distance_m), (Some(true), Some(0.0)));
    assert_eq!((inside.name, inside.id), (Some("Altiplano"), Some("mx-1")));
    assert!((inside.edge_distance_m.unwrap() - 110.7).abs() < 0.5, "{inside:?}");

    let in_the_yard = places.prison(at(19.42, -99.75));
    assert_eq!(in_the_yard.inside, Some(false), "a hole is outside");
    assert!((in_the_yard.distance_m.unwrap() - 52.4).abs() < 0.2, "{in_the_yard:?}");

    let north = at(19.4234, -99.75);
    let near = places.prison(north);
    let expected_m = distance_m(north, at(19.423, -99.75));
    assert_eq!(near.inside, Some(false));
    assert!((near.distance_m.unwrap() - expected_m).abs() < 0.001 && expected_m < 50.0, "{near:?}");

    let on_the_edge = places.prison(at(19.423, -99.75));
    assert_eq!((on_the_edge.inside, on_the_edge.distance_m), (Some(true), Some(0.0)));

    let far = places.prison(at(19.8, -99.75));
    assert!((far.distance_m.unwrap() - 41_721.0).abs() < 20.0, "{far:?}");
    let farther = places.prison(at(19.9, -99.75));
    assert_eq!((farther.inside, farther.distance_m, farther.name), (Some(false), None, None));
    let elsewhere = places.prison(at(-33.4, -70.6));
    assert_eq!((elsewhere.inside, elsewhere.distance_m), (Some(false), None));
}

#[test]
fn an_accurate_point_counts_and_a_coarse_one_hints() {
    let point = |name: &str, accuracy: &str| {
        feature(&format!(r#"{{"name":"{name}"{accuracy}}}"#), "Point", "[-99.75,19.42]")
    };
    let near = at(19.4203, -99.75);
    let near_m = distance_m(near, at(19.42, -99.75));

    for accuracy in [r#","accuracy_m":50"#, r#","radius":"20""#, r#","accuracy":0"#] {
        let data_sets = prisons(&collection(&[point("fine", accuracy)]));
        let found = data_sets.places.prison(near);
        assert_eq!((found.inside, found.name), (Some(false), Some("fine")), "{accuracy}");
        assert!((found.distance_m.unwrap() - near_m).abs() < 1e-6);
        assert_eq!(found.low_confidence_hint, None);
        assert_eq!(data_sets.places.prison(at(19.42, -99.75)).inside, Some(true), "at the very point");
    }

    for (accuracy, accuracy_m) in
        [(r#","accuracy_m":51"#, 51.0), ("", 1_000.0), (r#","accuracy_m":3000"#, 3_000.0)]
    {
        let data_sets = prisons(&collection(&[point("coarse", accuracy)]));
        let found = data_sets.places.prison(near);
        assert_eq!((found.inside, found.distance_m, found.name), (None, None, None), "{accuracy}");
        let hint = found.low_confidence_hint.unwrap();
        assert_eq!((hint.name, hint.accuracy_m), ("coarse", accuracy_m));
        assert!((hint.distance_m - near_m).abs() < 1e-6);
        let far = data_sets.places.prison(at(19.47, -99.75));
        assert_eq!((far.inside, far.low_confidence_hint), (Some(false), None), "{accuracy}");
    }
}

#[test]
fn evidence_outranks_a_hint() {
    let coarse = feature(r#"{"name":"coarse","accuracy_m":3000}"#, "Point", "[-99.75,19.42]");
    let data_sets = prisons(&collection(&[coarse, altiplano()]));
    let inside = data_sets.places.prison(at(19.422, -99.75));
    assert_eq!((inside.inside, inside.name), (Some(true), Some("Altiplano")));
    assert!(inside.low_confidence_hint.is_some());
    let near = data_sets.places.prison(at(19.4234, -99.75));
    assert_eq!((near.inside, near.name), (Some(false), Some("Altiplano")));
    // Between 50 m and the reach of the coarse point nobody can tell.
    let doubtful = data_sets.places.prison(at(19.43, -99.75));
    assert_eq!((doubtful.inside, doubtful.distance_m), (None, None));
    assert!(doubtful.low_confidence_hint.is_some());
}

#[test]
fn without_a_file_nothing_is_said() {
    let places = Places::without_prisons().unwrap();
    assert!(!places.has_prisons());
    assert_eq!(places.prison(at(19.42, -99.75)), PrisonFacts::default());
}

#[test]
fn closed_prisons_never_fire() {
    let closed = [
        r#"{"name":"a","status":"closed 2019-09-30"}"#,
        r#"{"name":"b","closed":true}"#,
        r#"{"name":"c","end_date":"2020-01-01"}"#,
        r#"{"name":"d","status":"Cerrado"}"#,
    ];
    let mut features: Vec<String> = closed
        .iter()
        .map(|properties| feature(properties, "Polygon", &format!("[{}]", square(-99.75, 19.42, 0.003))))
        .collect();
    assert!(refusal(&collection(&features)).contains("4 closed"));
    features.push(feature(r#"{"name":"open"}"#, "Point", "[-70.6,-33.4]"));
    let data_sets = prisons(&collection(&features));
    assert_eq!(data_sets.places.prison_count(), 1);
    assert_eq!(data_sets.places.prison(at(19.42, -99.75)).inside, Some(false));
}

#[test]
fn our_csv_is_read_with_its_levels_of_confidence() {
    let csv = "name,country,lat,lon,status,confidence\n\
               \"CEFERESO \"\"Uno\"\"\",MX,19.420583,-99.748747,open,high\n\
               Viejo,MX,25.725033,-100.344700,closed 2019-09-30,medium\n\
               Lejano,MX,21.881400,-102.366900,unknown,low\n\
               Sin lugar,MX,,,unknown,name-only\n";
    let data_sets = prisons(csv);
    let places = &data_sets.places;
    assert_eq!(places.prison_count(), 2);
    let sites: Vec<_> =
        places.prisons().map(|site| (site.name, site.id, site.accuracy_m, site.is_outlined)).collect();
    assert_eq!(
        sites,
        [
            ("CEFERESO \"Uno\"", "prisons#1", Some(100.0), false),
            ("Lejano", "prisons#3", Some(3_000.0), false),
        ]
    );
    assert_eq!(places.warnings().len(), 1, "{:?}", places.warnings());
    let found = places.prison(at(19.420583, -99.748747));
    assert_eq!((found.inside, found.low_confidence_hint.unwrap().accuracy_m), (None, 100.0));
    assert_eq!(places.prison(at(25.725033, -100.3447)).inside, Some(false));

    let with_accuracy = "id,nombre,latitud,longitud,accuracy_m\nmx-7,Penal,19.42,-99.75,10\n";
    let found = prisons(with_accuracy);
    let found = found.places.prison(at(19.4203, -99.75));
    assert_eq!((found.id, found.name, found.accuracy_m), (Some("mx-7"), Some("Penal"), Some(10.0)));
}

#[test]
fn broken_files_are_refused_with_feature_and_reason() {
    let check = |content: &str, reasons: &[&str]| {
        let message = refusal(content);
        for reason in reasons {
            assert!(message.contains(reason), "{message}");
        }
    };
    let good = altiplano();
    let bad = |geometry: &str, coordinates: &str| {
        collection(&[good.clone(), feature(r#"{"name":"bad"}"#, geometry, coordinates)])
    };
    check(&bad("Polygon", "[[[0,0],[1,0],[1,1],[0,1]]]"), &["feature 1", "not closed"]);
    check(&bad("Polygon", "[[[0,0],[1,0],[0,0]]]"), &["feature 1", "at least 4"]);
    check(&bad("Polygon", "[]"), &["feature 1", "no ring"]);
    check(&bad("Point", "[19.42,-99.75]"), &["feature 1", "out of range", "swapped"]);
    check(&bad("Point", "[500,95]"), &["feature 1", "out of range"]);
    check(&bad("Polygon", "[[[0,0],[9,0],[9,9],[0,9],[0,0]]]"), &["feature 1", "200 km"]);
    check(
        &bad("MultiPolygon", "[[[[0,0],[0.1,0],[0.1,0.1],[0,0]]],[[[0,0],[1,1],[0,0]]]]"),
        &["feature 1", "at least 4"],
    );
    check(&collection(&[feature(r#"{"accuracy_m":-1}"#, "Point", "[0,0]")]), &["feature 0", "accuracy"]);
    check(&collection(&[feature(r#"{"accuracy_m":[1]}"#, "Point", "[0,0]")]), &["feature 0", "not a number"]);
    check(
        &collection(&[feature("{}", "LineString", "[[0,0],[1,1]]")]),
        &["no usable row", "1 neither polygon nor point"],
    );
    check(r#"{"type":"FeatureCollection","features":[]}"#, &["no usable row"]);
    check(r#"{"type":"FeatureCollection","#, &["not valid GeoJSON"]);
    check("", &["empty"]);
    let mercator = format!(
        r#"{{"type":"FeatureCollection","crs":{{"type":"name","properties":{{"name":"urn:ogc:def:crs:EPSG::3857"}}}},"features":[{good}]}}"#
    );
    check(&mercator, &["3857", "not WGS84"]);
    check("name,x,y\na,1,2\n", &["lat and lon"]);
    check("name,lat,lon\na,19.4,-99\nb,north,-99\n", &["line 3", "\"north\" is not a number"]);
    check("name,lat,lon\na,-99.75,19.42\n", &["line 2", "swapped"]);
}

#[test]
fn swapped_coordinates_that_stay_in_range_are_suspected() {
    // Two sites of Argentina with latitude and longitude exchanged lie in the southern ocean.
    let csv = "name,lat,lon\nMarcos Paz,-58.8306,-34.8202\nEzeiza,-58.5286,-34.8396\n";
    let data_sets = prisons(csv);
    assert!(data_sets.warnings()[0].contains("2 of 2 are on land"), "{:?}", data_sets.warnings());
    let data_sets = prisons("name,lat,lon\nMarcos Paz,-34.8202,-58.8306\n");
    assert!(data_sets.warnings().is_empty());
}

#[test]
fn countries_of_cities_islands_and_the_sea() {
    let places = Places::without_prisons().unwrap();
    let check = |latitude: f64, longitude: f64, expected: Option<&str>| {
        assert_eq!(places.country(at(latitude, longitude)), expected, "{latitude} {longitude}");
    };
    check(19.4326, -99.1332, Some("MX"));
    check(32.5149, -117.0382, Some("MX"));
    check(32.7157, -117.1611, Some("US"));
    check(20.4230, -86.9223, Some("MX"));
    check(-33.4489, -70.6693, Some("CL"));
    check(18.4655, -66.1057, Some("PR"));
    check(48.8566, 2.3522, Some("FR"));
    check(10.0, -120.0, None);
    check(0.0, 0.0, None);
    check(64.0, 180.0, None);
    check(65.5, -180.0, Some("RU"));
    check(90.0, 0.0, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The index must bring every prison within the search distance, wherever on the globe.
    #[test]
    fn the_index_misses_nothing(
        latitude in prop_oneof![-90.0..90.0f64, 89.5..90.0f64, -90.0..-89.5f64],
        longitude in prop_oneof![-180.0..180.0f64, 179.9..180.0f64],
        sites in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 1..12),
        probes in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 30),
    ) {
        let shift = |(north, east): (f64, f64)| {
            let there = (latitude + north * 0.5).clamp(-90.0, 90.0);
            let stretch = 1.0 / there.to_radians().cos().max(0.002);
            let around = (longitude + east * 0.5 * stretch + 180.0).rem_euclid(360.0) - 180.0;
            at(there, around)
        };
        let sites: Vec<Position> = sites.into_iter().map(shift).collect();
        let features: Vec<String> = sites
            .iter()
            .map(|site| feature(r#"{"accuracy_m":5}"#, "Point", &format!("[{},{}]", site.longitude(), site.latitude())))
            .collect();
        let data_sets = prisons(&collection(&features));
        for probe in probes.into_iter().map(shift) {
            let nearest_m = sites.iter().map(|site| distance_m(probe, *site)).fold(f64::INFINITY, f64::min);
            let found = data_sets.places.prison(probe);
            match found.distance_m {
                Some(found_m) => prop_assert!((found_m - nearest_m).abs() < 0.01, "{} {}", found_m, nearest_m),
                None => prop_assert!(nearest_m > 50_000.0 - 0.01, "missed one at {} m", nearest_m),
            }
        }
    }

    /// An outline near a pole or across the antimeridian behaves as anywhere.
    #[test]
    fn the_middle_of_an_outline_is_inside_anywhere(
        latitude in prop_oneof![-89.9..89.9f64, 89.0..89.9f64],
        longitude in prop_oneof![-180.0..180.0f64, Just(180.0), Just(-180.0), 179.99..180.0f64],
    ) {
        let half = 0.01;
        let data_sets = prisons(&collection(&[feature("{}", "Polygon", &format!("[{}]", square(longitude, latitude, half)))]));
        let found = data_sets.places.prison(at(latitude, longitude));
        prop_assert_eq!(found.inside, Some(true));
        // The nearest side is at half its width, north and south or, at high latitudes, east and west.
        let side_m = distance_m(at(latitude, 0.0), at(latitude, half));
        let end_m = distance_m(at(latitude, 0.0), at((latitude + half).min(90.0), 0.0));
        let edge_m = found.edge_distance_m.unwrap();
        prop_assert!((edge_m - side_m.min(end_m)).abs() < 1.5, "{} {} {}", edge_m, side_m, end_m);
        let site = data_sets.places.prisons().next().unwrap();
        prop_assert_eq!(data_sets.places.prison(site.position).inside, Some(true));
    }
}
