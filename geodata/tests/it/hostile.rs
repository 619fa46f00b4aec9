//! Files that are broken, half-written or made to hurt.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::{Folder, chain, data, open};

const MMDB_FILES: [(&str, &str); 5] = [
    ("ip.country", "flat-country.mmdb"),
    ("ip.city", "flat-city-v4.mmdb"),
    ("ip.city", "nested-city.mmdb"),
    ("ip.asn", "asn.mmdb"),
    ("ip.vpn", "anonymous.mmdb"),
];

#[test]
fn truncated_mmdb_files_are_refused_with_their_name() {
    for (name, file) in MMDB_FILES {
        let whole = std::fs::read(data(file)).unwrap();
        for length in (0..whole.len()).step_by(97) {
            let folder = Folder::new();
            let path = folder.file("half.mmdb", &whole[..length]);
            let error = open(&[format!("{name}:mmdb={}", path.display())]).err();
            let message = chain(&error.unwrap_or_else(|| panic!("{file} cut to {length} is accepted")));
            assert!(message.contains("half.mmdb"), "{message}");
        }
    }
}

#[test]
fn a_file_of_another_kind_is_refused_with_the_reason() {
    let refuse = |argument: String, reason: &str| {
        let message = chain(&open(&[argument]).err().expect("the file is refused"));
        assert!(message.contains(reason), "{message}");
    };
    let folder = Folder::new();
    let empty = folder.file("empty.mmdb", "");
    let text = folder.file("text.mmdb", "not a database");
    refuse(format!("ip.country={}", empty.display()), "is empty");
    refuse(format!("ip.country={}", text.display()), "not a readable mmdb file");
    refuse(format!("ip.country={}", folder.path().join("gone").display()), "cannot read");
    refuse(
        format!("ip.country={}", data("asn.mmdb").display()),
        "\"GeoLite2-ASN\" database has country_code",
    );
    refuse(format!("ip.asn={}", data("nested-city.mmdb").display()), "autonomous_system_number");
    refuse(format!("ip.country:csv={}", data("flat-country.mmdb").display()), "format csv does not fit");
    refuse(format!("ip.asn:json={}", data("asn.mmdb").display()), "format json does not fit");
    refuse(format!("ip.asn={}", text.with_extension("csv").display()), "cannot read");
    let rows = folder.file("rows.csv", "a,b,c\n1,2,3\n");
    refuse(format!("ip.asn={}", rows.display()), "2 rejected; line 1: not two addresses");
    let hidden = folder.file("folder/.hidden", "");
    refuse(format!("ip.tor={}", hidden.parent().unwrap().display()), "no file");
}

#[test]
fn a_small_file_cannot_unfold_into_too_many_corners() {
    // Each of these outlines is cut into some thousand chords.
    let outline = "[[[0,0],[1.2,0],[1.2,1.2],[0,1.2],[0,0]]]";
    let content = format!(r#"{{"type":"MultiPolygon","coordinates":[{}]}}"#, vec![outline; 5_000].join(","));
    assert!(content.len() < 500_000);
    let folder = Folder::new();
    let path = folder.file("huge.geojson", content);
    let message = chain(&open(&[format!("places.prisons={}", path.display())]).err().unwrap());
    assert!(message.contains("too many corners"), "{message}");
}

#[test]
fn a_huge_ring_is_refused() {
    let corners: Vec<String> = (0..400_000).map(|step| format!("[{},{}]", step % 7, step % 3)).collect();
    let content = format!(r#"{{"type":"Polygon","coordinates":[[{},[0,0]]]}}"#, corners.join(","));
    let folder = Folder::new();
    let path = folder.file("huge.geojson", content);
    let message = chain(&open(&[format!("places.prisons={}", path.display())]).err().unwrap());
    assert!(message.contains("200 km"), "{message}");
}

#[test]
fn deep_nesting_is_refused() {
    let folder = Folder::new();
    let deep = "[".repeat(200_000);
    let json = folder.file("deep.json", &deep);
    assert!(open(&[format!("ip.proxy:json={}", json.display())]).is_err());
    let geojson = folder.file("deep.geojson", format!(r#"{{"type":"Polygon","coordinates":{deep}"#));
    assert!(open(&[format!("places.prisons={}", geojson.display())]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A damaged database is refused, or answers without a panic.
    #[test]
    fn damaged_mmdb_files_never_panic(
        which in 0..MMDB_FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        addresses in prop::collection::vec(any::<u128>(), 8),
    ) {
        let (name, file) = MMDB_FILES[which];
        let mut bytes = std::fs::read(data(file)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = Folder::new();
        let path = folder.file("damaged.mmdb", bytes);
        if let Ok(data_sets) = open(&[format!("{name}:mmdb={}", path.display())]) {
            for bits in addresses {
                let _ = data_sets.ip.lookup(IpAddr::V6(bits.into()));
                let _ = data_sets.ip.lookup(IpAddr::V4((bits as u32).into()));
            }
            let _ = data_sets.ip.lookup("201.141.5.9".parse().unwrap());
        }
    }

    /// Whatever the bytes, a file is read or refused.
    #[test]
    fn random_files_never_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            "[0-9a-f:./,\\-\t# \n\"AS]{0,300}".prop_map(String::into_bytes),
            "[\\[\\]{}\",:0-9a-z.\\- ]{0,300}".prop_map(String::into_bytes),
        ],
    ) {
        let folder = Folder::new();
        let path = folder.file("random", &bytes);
        for name in ["ip.country", "ip.asn", "ip.tor", "places.prisons"] {
            let _ = open(&[format!("{name}={}", path.display())]);
        }
        for format in ["addresses", "ranges", "counted", "csv", "asn", "json", "iporigin", "mmdb"] {
            let _ = open(&[format!("ip.tor:{format}={}", path.display())]);
        }
    }
}
