//! Real files with known answers, where a checkout has them beside it; elsewhere these tests have nothing to do.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use geodata::{DataSets, Position};

use crate::{chain, open};

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/geodata").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("{name} is not there, nothing to test");
    None
}

fn open_shared(arguments: &[(&str, &str)]) -> Option<DataSets> {
    let arguments: Option<Vec<String>> =
        arguments.iter().map(|(name, file)| Some(format!("{name}={}", shared(file)?.display()))).collect();
    Some(open(&arguments?).unwrap_or_else(|error| panic!("{}", chain(&error))))
}

fn csv_rows(path: &Path) -> Vec<csv::StringRecord> {
    csv::Reader::from_path(path).unwrap().records().map(|record| record.unwrap()).collect()
}

/// Calls `check` with the first address of each network of an expectation file, the record, and whether no
/// narrower network of the file covers that address.
fn each_expected(file: &str, mut check: impl FnMut(IpAddr, &serde_json::Value)) -> Option<usize> {
    let text = std::fs::read_to_string(shared(file)?).unwrap();
    let entries: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&text).unwrap();
    let mut count = 0;
    for (network, record) in entries.iter().flatten() {
        let address: IpAddr = network.split('/').next().unwrap().parse().unwrap();
        // The files write IPv4 networks as ::a.b.c.d.
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4().map_or(address, IpAddr::V4),
            v4 => v4,
        };
        if geodata::reserved(geodata::unwrap_embedded(address).0).is_none() {
            check(address, record);
            count += 1;
        }
    }
    Some(count)
}

#[test]
fn nested_city_records_are_as_expected() {
    let Some(data_sets) = open_shared(&[("ip.city", "ip/mmdb-test/GeoIP2-City-Test.mmdb")]) else { return };
    let count = each_expected("ip/mmdb-test/GeoIP2-City-Test.json", |address, record| {
        let found = data_sets.ip.lookup(address);
        let text = |pointer: &str| record.pointer(pointer).and_then(serde_json::Value::as_str);
        let number = |pointer: &str| record.pointer(pointer).and_then(serde_json::Value::as_f64);
        assert_eq!(found.country_code, text("/country/iso_code"), "{address}");
        assert_eq!(found.continent_code, text("/continent/code"), "{address}");
        assert_eq!(found.state, text("/subdivisions/0/names/en"), "{address}");
        assert_eq!(found.city, text("/city/names/en"), "{address}");
        assert_eq!(found.postal_code, text("/postal/code"), "{address}");
        assert_eq!(found.time_zone, text("/location/time_zone"), "{address}");
        assert_eq!(found.latitude, number("/location/latitude"), "{address}");
        assert_eq!(found.longitude, number("/location/longitude"), "{address}");
        assert_eq!(found.accuracy_radius_km.map(f64::from), number("/location/accuracy_radius"), "{address}");
    });
    assert!(count.is_none_or(|count| count > 200), "{count:?}");
}

#[test]
fn nested_country_records_are_as_expected() {
    let arguments = [("ip.country", "ip/mmdb-test/GeoIP2-Country-Test.mmdb")];
    let Some(data_sets) = open_shared(&arguments) else { return };
    let count = each_expected("ip/mmdb-test/GeoIP2-Country-Test.json", |address, record| {
        let expected = record.pointer("/country/iso_code").and_then(serde_json::Value::as_str);
        assert_eq!(data_sets.ip.lookup(address).country_code, expected, "{address}");
    });
    assert!(count.is_none_or(|count| count > 200), "{count:?}");
}

#[test]
fn autonomous_system_records_are_as_expected() {
    let Some(data_sets) = open_shared(&[("ip.asn", "ip/mmdb-test/GeoLite2-ASN-Test.mmdb")]) else { return };
    let count = each_expected("ip/mmdb-test/GeoLite2-ASN-Test.json", |address, record| {
        let found = data_sets.ip.lookup(address);
        let number = record["autonomous_system_number"].as_u64();
        assert_eq!(found.asn.map(u64::from), number, "{address}");
        assert_eq!(found.service_provider, record["autonomous_system_organization"].as_str(), "{address}");
    });
    assert!(count.is_none_or(|count| count > 200), "{count:?}");
}

#[test]
fn anonymous_flags_are_as_expected() {
    let file = "ip/mmdb-test/GeoIP2-Anonymous-IP-Test.mmdb";
    let arguments = [("ip.vpn", file), ("ip.tor", file), ("ip.datacenter", file), ("ip.proxy", file)];
    let Some(data_sets) = open_shared(&arguments) else { return };
    let count = each_expected("ip/mmdb-test/GeoIP2-Anonymous-IP-Test.json", |address, record| {
        let found = data_sets.ip.lookup(address);
        let flag = |key: &str| Some(record[key].as_bool() == Some(true));
        assert_eq!(found.vpn, flag("is_anonymous_vpn"), "{address}");
        assert_eq!(found.tor_exit, flag("is_tor_exit_node"), "{address}");
        assert_eq!(found.datacenter, flag("is_hosting_provider"), "{address}");
        assert_eq!(found.public_proxy, flag("is_public_proxy"), "{address}");
    });
    assert!(count.is_none_or(|count| count > 5), "{count:?}");
}

#[test]
fn broken_test_databases_are_refused_or_say_that_they_failed() {
    for file in ["MaxMind-DB-test-broken-pointers-24", "GeoIP2-City-Test-Broken-Double-Format"] {
        let Some(path) = shared(&format!("ip/mmdb-test/{file}.mmdb")) else { return };
        let message = chain(&open(&[format!("ip.city={}", path.display())]).err().expect("it is refused"));
        assert!(message.contains(file), "{message}");
    }
}

#[test]
fn country_and_network_of_three_thousand_addresses() {
    let arguments = [("ip.country", "ip/dbip-country.mmdb"), ("ip.asn", "ip/asn-ipv4.csv.gz")];
    let Some(data_sets) = open_shared(&arguments) else { return };
    let Some(expected) = shared("ip/expect_dbip_city_asn.csv") else { return };
    let mut country_misses = 0;
    let rows = csv_rows(&expected);
    for row in &rows {
        let found = data_sets.ip.lookup(row[0].parse().unwrap());
        // The expectation is of the city file, which is four days younger.
        country_misses += usize::from(found.country_code != Some(&row[1]).filter(|code| !code.is_empty()));
        assert_eq!(found.asn.map_or(String::new(), |asn| asn.to_string()), &row[6], "{}", &row[0]);
        assert_eq!(found.service_provider.unwrap_or(""), &row[7], "{}", &row[0]);
    }
    assert!(rows.len() == 3_000 && country_misses <= 30, "{country_misses}");
}

#[test]
fn published_lists_are_read_whole() {
    // The name of the list, how many rows may be rejected, and one address that it names.
    let lists = [
        ("ip.vpn", "ip/lists/x4bnet-vpn-ipv4.txt", 0, "2.26.157.7"),
        ("ip.vpn", "ip/lists/x4bnet-vpn-ipv6.txt", 0, "2001:550:1d05::1"),
        ("ip.datacenter", "ip/lists/x4bnet-datacenter-ipv4.txt", 0, "1.12.0.1"),
        ("ip.datacenter", "ip/lists/x4bnet-datacenter-ipv6.txt", 0, "2001:418:1401:7::1"),
        ("ip.datacenter", "ip/lists/ipcat-datacenters.csv", 0, "3.80.0.1"),
        ("ip.datacenter", "ip/lists/cloud-all-ipv4_merged.txt", 0, "1.178.64.9"),
        ("ip.datacenter", "ip/lists/cloud-all-ipv6_merged.txt", 0, "2a0d:3002:2100:a00c:5::4065"),
        ("ip.relay", "ip/lists/cloud-apple-proxy-ipv4_merged.txt", 0, "104.28.28.1"),
        ("ip.tor", "ip/lists/tor-exits.csv", 0, "204.8.96.141"),
        ("ip.tor", "ip/lists/tor-exit-nodes-2024-02-27.lst", 0, "101.99.92.179"),
        ("ip.blacklist", "ip/lists/ipsum-level2.txt", 0, "77.90.185.20"),
        ("ip.blacklist", "ip/lists/ipsum.txt.gz", 0, "77.90.185.20"),
        ("ip.proxy", "ip/lists/open-proxies.json", 0, "104.28.230.247"),
        ("ip.proxy", "ip/lists/open-proxies.txt", 0, "144.31.222.106"),
        ("ip.tunnel", "ip/lists/tunnels.csv", 0, "45.61.187.248"),
    ];
    for (name, file, rejected_count_max, address) in lists {
        let Some(data_sets) = open_shared(&[(name, file)]) else { return };
        let rejected = &data_sets.in_use()[0].rejected_rows;
        assert!(rejected.count() <= rejected_count_max, "{file}: {rejected}");
        let found = data_sets.ip.lookup(address.parse().unwrap());
        let data_set = data_sets.in_use()[0].name;
        let class = geodata::AddressClass::ALL.into_iter().find(|class| class.data_set() == data_set);
        assert_eq!(found.class(class.unwrap()), Some(true), "{file} {address}");
        let residential = data_sets.ip.lookup("187.190.38.1".parse().unwrap());
        assert_eq!(residential.class(class.unwrap()), Some(false), "{file}");
    }
}

#[test]
fn lists_of_networks_act_through_the_operator() {
    for list in ["ip/lists/x4bnet-datacenter-ASN.txt", "ip/lists/bad-asn-list.csv"] {
        let Some(data_sets) = open_shared(&[("ip.datacenter", list), ("ip.asn", "ip/asn-ipv4.csv.gz")])
        else {
            return;
        };
        let rejected = &data_sets
            .in_use()
            .iter()
            .find(|used| used.name.as_str() == "ip.datacenter")
            .unwrap()
            .rejected_rows;
        assert!(rejected.count() <= 2, "{list}: {rejected}");
        // AS3223, which both lists have, announces this one.
        let networks = ["5.254.0.1", "93.115.82.1", "109.163.225.1"];
        let voxility = networks.iter().map(|address| data_sets.ip.lookup(address.parse().unwrap()));
        let found: Vec<_> = voxility.filter(|found| found.asn == Some(3223)).collect();
        assert!(!found.is_empty() && found.iter().all(|found| found.datacenter == Some(true)), "{list}");
        let telmex = data_sets.ip.lookup("187.190.38.1".parse().unwrap());
        assert_eq!(telmex.datacenter, Some(false), "{list} {telmex:?}");
    }
}

#[test]
fn places_along_the_mexican_boundary_are_in_their_country() {
    let Some(path) = shared("geo/border20km_mx.csv") else { return };
    let places = geodata::Places::without_prisons().unwrap();
    let wrong: Vec<String> = csv_rows(&path)
        .iter()
        .filter(|row| {
            let position = Position::new(row[3].parse().unwrap(), row[4].parse().unwrap()).unwrap();
            let is_mexico = places.country(position) == Some("MX");
            is_mexico != (&row[2] == "MX")
        })
        .map(|row| row[0].to_owned())
        .collect();
    // One place is on an island of a boundary river, and the sources differ about it.
    assert!(wrong.iter().all(|id| id == "3516497"), "{wrong:?}");
}

#[test]
fn outlines_and_points_of_real_prisons() {
    let Some(data_sets) = open_shared(&[("places.prisons", "prisons/osm_nl_prison_polygons.geojson")]) else {
        return;
    };
    assert_eq!(data_sets.places.prison_count(), 3);
    for site in data_sets.places.prisons() {
        let found = data_sets.places.prison(site.position);
        assert_eq!((found.inside, found.name), (Some(true), Some(site.name)));
        assert_eq!(data_sets.places.country(site.position), Some("NL"));
    }
    let files = ["us_federal.geojson", "us_federal.csv", "us_texas.geojson", "us_arizona.geojson"];
    for file in files {
        let Some(data_sets) = open_shared(&[("places.prisons", &format!("prisons/{file}"))]) else { return };
        assert!(data_sets.places.prison_count() >= 14, "{file}");
        let site = data_sets.places.prisons().next().unwrap();
        let found = data_sets.places.prison(site.position);
        assert!(found.inside.is_none() && found.low_confidence_hint.is_some(), "{file}");
    }
    let Some(names_only) = shared("prisons/prisons_mx_names_only.csv") else { return };
    let message = chain(&open(&[format!("places.prisons={}", names_only.display())]).err().unwrap());
    assert!(message.contains("14 without a position"), "{message}");
}
