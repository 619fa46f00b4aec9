//! What an address says by itself: an IPv4 address carried inside an IPv6 one, and ranges that nobody owns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A standard way to carry an IPv4 address inside an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Embedding {
    /// `::ffff:0:0/96`, how dual-stack sockets show IPv4 peers (RFC 4291).
    Mapped,
    /// `2002::/16`, the address of the site's gateway (RFC 3056).
    SixToFour,
    /// `2001::/32`, the outer address of the client, stored inverted (RFC 4380).
    Teredo,
    /// `64:ff9b::/96`, an IPv4 host seen through a translator (RFC 6052).
    Nat64,
}

impl Embedding {
    /// Returns the name used in signals.
    pub fn name(self) -> &'static str {
        match self {
            Embedding::Mapped => "ipv4_mapped",
            Embedding::SixToFour => "6to4",
            Embedding::Teredo => "teredo",
            Embedding::Nat64 => "nat64",
        }
    }
}

/// Returns the address that reference data knows, and how it was carried.
///
/// Reference data lists the IPv4 address of a host, never the IPv6 address that a transition mechanism
/// derives from it, so such an address is looked up as the IPv4 address inside. Other addresses are
/// returned unchanged.
pub fn unwrap_embedded(address: IpAddr) -> (IpAddr, Option<Embedding>) {
    let IpAddr::V6(v6) = address else { return (address, None) };
    let [s0, s1, s2, s3, s4, s5, s6, s7] = v6.segments();
    let found = match (s0, s1, s2, s3, s4, s5) {
        (0, 0, 0, 0, 0, 0xffff) => Some((Embedding::Mapped, from_halves(s6, s7))),
        (0x64, 0xff9b, 0, 0, 0, 0) => Some((Embedding::Nat64, from_halves(s6, s7))),
        (0x2002, ..) => Some((Embedding::SixToFour, from_halves(s1, s2))),
        (0x2001, 0, ..) => Some((Embedding::Teredo, from_halves(!s6, !s7))),
        _ => None,
    };
    found.map_or((address, None), |(embedding, v4)| (IpAddr::V4(v4), Some(embedding)))
}

fn from_halves(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

/// Returns why nobody on the public Internet has this address, or none for an ordinary one.
///
/// The ranges are those of the IANA special-purpose registries. Country, network and lists say nothing
/// about such an address: they are not applicable, which differs from unknown.
pub fn reserved(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => reserved_v4(address),
        IpAddr::V6(address) => reserved_v6(address),
    }
}

fn reserved_v4(address: Ipv4Addr) -> Option<&'static str> {
    let octets = address.octets();
    match octets {
        [0, ..] => Some("this_network"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("carrier_grade_nat"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link_local"),
        // Two anycast addresses of this block are services of the public Internet (RFC 7723, RFC 8155).
        [192, 0, 0, 9 | 10] => None,
        [192, 0, 0, _] => Some("protocol_assignment"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        [192, 88, 99, _] => Some("6to4_relay"),
        [198, 18..=19, ..] => Some("benchmarking"),
        [224..=239, ..] => Some("multicast"),
        [255, 255, 255, 255] => Some("broadcast"),
        [240..=255, ..] => Some("future_use"),
        _ => None,
    }
}

fn reserved_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("unspecified");
    }
    if address.is_loopback() {
        return Some("loopback");
    }
    match address.segments() {
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link_local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("documentation"),
        [0x2001, 0x2, 0, ..] => Some("benchmarking"),
        [0x2001, 0x10..=0x2f, ..] => Some("host_identity"),
        [0x100, 0, 0, 0, ..] => Some("discard"),
        [0x64, 0xff9b, 1, ..] => Some("private"),
        // IANA hands out global addresses from 2000::/3 only.
        [0x2000..=0x3fff, ..] => None,
        _ => Some("unallocated"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn embedded_addresses_are_unwrapped() {
        let check = |address: &str, expected: &str, embedding| {
            let found = unwrap_embedded(address.parse().unwrap());
            assert_eq!(found, (expected.parse().unwrap(), embedding), "{address}");
        };
        check("::ffff:201.141.5.9", "201.141.5.9", Some(Embedding::Mapped));
        check("2002:c98d:509::1", "201.141.5.9", Some(Embedding::SixToFour));
        check("64:ff9b::201.141.5.9", "201.141.5.9", Some(Embedding::Nat64));
        // The example of RFC 4380: client port and address are inverted.
        check("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45", Some(Embedding::Teredo));
        check("2001:1::1", "2001:1::1", None);
        check("2806:2f0::1", "2806:2f0::1", None);
        check("201.141.5.9", "201.141.5.9", None);
    }

    #[test]
    fn reserved_ranges_end_where_the_registry_says() {
        let check = |address: &str, expected| {
            assert_eq!(reserved(address.parse().unwrap()), expected, "{address}");
        };
        check("0.255.255.255", Some("this_network"));
        check("1.0.0.0", None);
        check("100.63.255.255", None);
        check("100.64.0.0", Some("carrier_grade_nat"));
        check("100.127.255.255", Some("carrier_grade_nat"));
        check("100.128.0.0", None);
        check("172.15.255.255", None);
        check("172.16.0.0", Some("private"));
        check("172.32.0.0", None);
        check("192.0.0.9", None);
        check("192.0.0.8", Some("protocol_assignment"));
        check("198.17.255.255", None);
        check("198.18.0.1", Some("benchmarking"));
        check("198.20.0.0", None);
        check("203.0.113.255", Some("documentation"));
        check("223.255.255.255", None);
        check("224.0.0.0", Some("multicast"));
        check("255.255.255.254", Some("future_use"));
        check("255.255.255.255", Some("broadcast"));
        check("::", Some("unspecified"));
        check("::1", Some("loopback"));
        check("fe80::1", Some("link_local"));
        check("fd00::1", Some("private"));
        check("2001:db8::1", Some("documentation"));
        check("3fff:fff::1", Some("documentation"));
        check("3fff:1000::1", None);
        check("4000::1", Some("unallocated"));
        check("2a09:bac3:ac1d:15e1::22e:34", None);
    }
}
