//! Lookups of addresses in every kind of file.

use std::net::IpAddr;

use geodata::{AddressClass, DataSetName, DataSets, IpFacts, NetworkChoice};

use crate::{Folder, data, open};

fn argument(name: &str, file: &str) -> String {
    format!("{name}={}", data(file).display())
}

fn facts<'a>(data_sets: &'a DataSets, address: &str) -> IpFacts<'a> {
    data_sets.ip.lookup(address.parse().unwrap())
}

#[track_caller]
fn check_patzcuaro(found: IpFacts<'_>, state: &str) {
    assert_eq!(found.country_code, Some("MX"));
    assert_eq!(found.city_country_code, Some("MX"));
    assert_eq!(found.state, Some(state));
    assert_eq!(found.city, Some("Pátzcuaro"));
    assert_eq!(found.postal_code, Some("61600"));
    assert_eq!(found.time_zone, Some("America/Mexico_City"));
    assert_eq!((found.latitude, found.longitude), (Some(19.5163), Some(-101.6098)));
    assert_eq!(found.failed, None);
}

#[test]
fn flat_files_of_both_families_are_one_data_set() {
    let data_sets =
        open(&[argument("ip.city", "flat-city-v4.mmdb"), argument("ip.city", "flat-city-v6.mmdb")]).unwrap();
    check_patzcuaro(facts(&data_sets, "201.141.5.9"), "Michoacán de Ocampo");
    check_patzcuaro(facts(&data_sets, "2806:2f0::1"), "Michoacán de Ocampo");
    check_patzcuaro(facts(&data_sets, "::ffff:201.141.5.9"), "Michoacán de Ocampo");
    check_patzcuaro(facts(&data_sets, "64:ff9b::201.141.5.9"), "Michoacán de Ocampo");
    check_patzcuaro(facts(&data_sets, "2002:c98d:509::1"), "Michoacán de Ocampo");

    let found = facts(&data_sets, "189.1.2.3");
    assert_eq!((found.country_code, found.city), (Some("BR"), None), "an empty name is unknown");
    let found = facts(&data_sets, "9.9.9.9");
    assert_eq!((found.country_code, found.reserved, found.vpn), (None, None, None));
}

#[test]
fn nested_files_answer_the_same_questions() {
    let data_sets = open(&[argument("ip.city", "nested-city.mmdb")]).unwrap();
    check_patzcuaro(facts(&data_sets, "201.141.5.9"), "Michoacán");
    check_patzcuaro(facts(&data_sets, "2806:2f0::1"), "Michoacán");
    let found = facts(&data_sets, "201.141.5.9");
    assert_eq!((found.continent_code, found.accuracy_radius_km), (Some("NA"), Some(20)));
    let found = facts(&data_sets, "189.1.2.3");
    assert_eq!((found.country_code, found.state, found.latitude), (Some("BR"), None, None));
}

#[test]
fn the_country_file_has_the_last_word_on_the_country() {
    let data_sets =
        open(&[argument("ip.country", "flat-country.mmdb"), argument("ip.city", "nested-city.mmdb")])
            .unwrap();
    let found = facts(&data_sets, "8.8.8.8");
    assert_eq!((found.country_code, found.city_country_code), (Some("US"), None));
    let found = facts(&data_sets, "201.141.5.9");
    assert_eq!((found.country_code, found.city_country_code), (Some("MX"), Some("MX")));
}

#[test]
fn reserved_addresses_are_not_looked_up() {
    let folder = Folder::new();
    let list = folder.file("vpn.txt", "10.0.0.0/8\n");
    let data_sets =
        open(&[argument("ip.city", "nested-city.mmdb"), format!("ip.vpn={}", list.display())]).unwrap();
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "2002:a01:203::1"] {
        let found = facts(&data_sets, address);
        assert_eq!(
            (found.reserved, found.vpn, found.country_code),
            (Some("private"), None, None),
            "{address}"
        );
    }
}

#[test]
fn autonomous_systems_come_from_csv_or_mmdb() {
    let folder = Folder::new();
    let csv = "201.141.0.0,201.141.255.255,28548,\"Cablevisión, S.A. de C.V.\"\n\
               189.0.0.0,189.31.255.255,28573,\n\
               2806:2f0::,2806:2f0:ffff:ffff:ffff:ffff:ffff:ffff,28548,\"Cablevisión, S.A. de C.V.\"\n\
               189.5.0.0,189.5.0.255,64500,overlap\n\
               8.8.8.9,8.8.8.8,15169,backwards\n\
               8.8.8.8,2001:4860::,15169,mixed\n\
               not,a,row\n";
    let csv = folder.file("asn.csv", csv);
    let data_sets = open(&[format!("ip.asn={}", csv.display())]).unwrap();
    let found = facts(&data_sets, "201.141.5.9");
    assert_eq!((found.asn, found.service_provider), (Some(28548), Some("Cablevisión, S.A. de C.V.")));
    let found = facts(&data_sets, "2806:2f0::77");
    assert_eq!((found.asn, found.service_provider), (Some(28548), Some("Cablevisión, S.A. de C.V.")));
    assert_eq!(
        (facts(&data_sets, "189.5.0.1").asn, facts(&data_sets, "189.5.0.1").service_provider),
        (Some(28573), None)
    );
    assert_eq!(facts(&data_sets, "201.142.0.0").asn, None);
    let rejected = &data_sets.in_use()[0].rejected_rows;
    assert_eq!(rejected.count(), 4, "{rejected}");
    assert!(data_sets.warnings()[0].contains("overlaps another range"), "{:?}", data_sets.warnings());

    let data_sets = open(&[argument("ip.asn", "asn.mmdb")]).unwrap();
    let found = facts(&data_sets, "201.141.5.9");
    assert_eq!((found.asn, found.service_provider), (Some(28548), Some("Cablevisión")));
    assert_eq!(facts(&data_sets, "189.1.1.1").service_provider, None);
    assert_eq!(facts(&data_sets, "2806:2f0::77").asn, None, "the file is for IPv4 only");
}

#[test]
fn lists_say_yes_no_or_nothing() {
    let folder = Folder::new();
    let tor = folder.file("tor.txt", "185.220.101.33\n2a0b:f4c2::/48\n");
    let networks = folder.file("hosting.txt", "AS28548 # by its operator\n");
    let asn = folder.file("asn.csv", "201.141.0.0,201.141.255.255,28548,Cable\n");
    let data_sets = open(&[
        format!("ip.tor={}", tor.display()),
        format!("ip.datacenter={}", networks.display()),
        format!("ip.asn={}", asn.display()),
    ])
    .unwrap();
    let found = facts(&data_sets, "185.220.101.33");
    assert_eq!((found.tor_exit, found.datacenter, found.vpn), (Some(true), Some(false), None));
    assert_eq!(facts(&data_sets, "2a0b:f4c2::7").tor_exit, Some(true));
    assert_eq!(facts(&data_sets, "185.220.101.34").tor_exit, Some(false));
    let found = facts(&data_sets, "201.141.5.9");
    assert_eq!((found.tor_exit, found.datacenter), (Some(false), Some(true)));
    // A list may name the address that carries another.
    let carrying = folder.file("carrying.txt", "2002:c98d:509::/48\n");
    let carried = open(&[format!("ip.tunnel={}", carrying.display())]).unwrap();
    assert_eq!(facts(&carried, "2002:c98d:509::1").tunnel, Some(true));
    assert_eq!(facts(&carried, "201.141.5.9").tunnel, Some(false));
    for class in AddressClass::ALL {
        assert_eq!(found.class(class).is_some(), data_sets.ip.is_configured(class.data_set()));
    }
}

#[test]
fn flags_of_an_anonymous_address_file_become_lists() {
    let data_sets =
        open(&[argument("ip.vpn", "anonymous.mmdb"), argument("ip.tor", "anonymous.mmdb")]).unwrap();
    let found = facts(&data_sets, "45.61.187.248");
    assert_eq!((found.vpn, found.tor_exit), (Some(true), Some(false)));
    let found = facts(&data_sets, "185.220.101.33");
    assert_eq!((found.vpn, found.tor_exit), (Some(false), Some(true)));
    assert_eq!(facts(&data_sets, "2a0b:f4c2::9").tor_exit, Some(true));
    assert!(open(&[argument("ip.tunnel", "anonymous.mmdb")]).is_err());
}

#[test]
fn several_files_and_folders_are_joined() {
    let folder = Folder::new();
    folder.file("lists/a.txt", "1.1.1.1\n");
    folder.file("lists/b.csv", "ip,who\n2.2.2.2,x\n");
    folder.file("lists/.hidden", "3.3.3.3\n");
    let more = folder.file("more.txt", "4.4.4.4-4.4.4.9\n");
    let data_sets = open(&[
        format!("ip.proxy={}", folder.path().join("lists").display()),
        format!("ip.proxy:ranges={}", more.display()),
    ])
    .unwrap();
    let proxy = |address: &str| facts(&data_sets, address).public_proxy.unwrap();
    assert!(proxy("1.1.1.1") && proxy("2.2.2.2") && proxy("4.4.4.5"));
    assert!(!proxy("3.3.3.3") && !proxy("4.4.4.10"));
    assert_eq!(data_sets.in_use()[0].files.len(), 3);
}

#[test]
fn networks_for_samplers_are_those_that_lookups_know() {
    let folder = Folder::new();
    let tor = folder.file("tor.txt", "185.220.101.33\n185.220.101.34\n");
    let data_sets =
        open(&[argument("ip.country", "flat-country.mmdb"), format!("ip.tor={}", tor.display())]).unwrap();
    let mexico = data_sets.networks(NetworkChoice::Country("mx")).unwrap();
    assert!(!mexico.is_empty());
    for range in &mexico {
        for address in [range.first(), range.last(), range.nth(range.len() / 2).unwrap()] {
            assert_eq!(data_sets.ip.lookup(address).country_code, Some("MX"), "{address}");
        }
    }
    let count: u128 = mexico.iter().map(geodata::AddressRange::len).sum();
    assert_eq!(count, (1 << 16) + (1 << 20));
    assert!(data_sets.networks(NetworkChoice::Country("ZZ")).unwrap().is_empty());
    let exits = data_sets.networks(NetworkChoice::Class(AddressClass::TorExit)).unwrap();
    let first: IpAddr = "185.220.101.33".parse().unwrap();
    assert_eq!((exits.len(), exits[0].first(), exits[0].len()), (1, first, 2));
    assert!(data_sets.networks(NetworkChoice::Class(AddressClass::Vpn)).unwrap().is_empty());
}

#[test]
fn hashes_name_the_content() {
    let folder = Folder::new();
    let list = folder.file("abc", "1.2.3.4");
    let again = folder.file("other", "1.2.3.4");
    let hash = |path: &std::path::Path| {
        let data_sets = open(&[format!("ip.tor={}", path.display())]).unwrap();
        assert!(data_sets.is_configured(DataSetName::IpTor) && !data_sets.is_configured(DataSetName::IpVpn));
        data_sets.hashes["ip.tor"].clone()
    };
    // The output of `printf 1.2.3.4 | sha256sum`.
    let expected = "sha256:6694f83c9f476da31f5df6bcc520034e7e57d421d247b9d34f49edbfc84a764c";
    assert_eq!(hash(&list), expected);
    assert_eq!(hash(&again), expected);
    let other = folder.file("changed", "1.2.3.5");
    assert_ne!(hash(&other), expected);
    let both = open(&[format!("ip.tor={}", list.display()), format!("ip.tor={}", other.display())]).unwrap();
    assert_ne!(both.hashes["ip.tor"], expected);
}
