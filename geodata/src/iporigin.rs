//! The packed table of the Python package `iporigin`: ranges of hosts, VPNs and Tor exits with their labels.
//!
//! All numbers are little-endian, addresses of IPv6 ranges are in network order:
//! `IPORIGIN`, version u16 (1), build time u64, counts of labels u16, of IPv4 ranges u32, of IPv6 ranges u32;
//! labels as u16 length and `provider TAB kind`; then ranges as first, last and u16 label.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::AddressClass;
use crate::ranges::AddressRange;

/// What the file starts with.
pub(crate) const MAGIC: &[u8] = b"IPORIGIN";
const VERSION: u16 = 1;

/// Returns the ranges of `class`, or why the file cannot be read.
///
/// A range has one label there, the narrowest, so that the classes do not overlap: a Tor exit in a
/// datacenter is a Tor exit only.
pub(crate) fn ranges(bytes: &[u8], class: AddressClass) -> Result<Vec<AddressRange>, String> {
    let mut cursor = Cursor { rest: bytes };
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err("it does not start as an iporigin table does".to_owned());
    }
    let version = u16::from_le_bytes(cursor.array()?);
    if version != VERSION {
        return Err(format!("it has version {version} of the iporigin layout, only {VERSION} is known"));
    }
    let _build_time = cursor.array::<8>()?;
    let label_count = u16::from_le_bytes(cursor.array()?);
    let v4_count = u32::from_le_bytes(cursor.array()?);
    let v6_count = u32::from_le_bytes(cursor.array()?);

    let mut is_wanted = Vec::with_capacity(usize::from(label_count));
    for _ in 0..label_count {
        let length = u16::from_le_bytes(cursor.array()?);
        let label = String::from_utf8_lossy(cursor.take(usize::from(length))?);
        let (provider, kind) = label.split_once('\t').ok_or("a label has no kind")?;
        is_wanted.push(class_of(provider, kind) == Some(class));
    }

    let mut ranges = Vec::new();
    for _ in 0..v4_count {
        let first = Ipv4Addr::from(u32::from_le_bytes(cursor.array()?));
        let last = Ipv4Addr::from(u32::from_le_bytes(cursor.array()?));
        let range = AddressRange::new(first.into(), last.into());
        keep(&mut ranges, &is_wanted, range, u16::from_le_bytes(cursor.array()?))?;
    }
    for _ in 0..v6_count {
        let first = Ipv6Addr::from(cursor.array::<16>()?);
        let last = Ipv6Addr::from(cursor.array::<16>()?);
        let range = AddressRange::new(first.into(), last.into());
        keep(&mut ranges, &is_wanted, range, u16::from_le_bytes(cursor.array()?))?;
    }
    if !cursor.rest.is_empty() {
        return Err(format!("{} bytes follow the last range", cursor.rest.len()));
    }
    Ok(ranges)
}

fn keep(
    ranges: &mut Vec<AddressRange>,
    is_wanted: &[bool],
    range: Option<AddressRange>,
    label: u16,
) -> Result<(), String> {
    let range = range.ok_or("a range ends before it starts")?;
    if *is_wanted.get(usize::from(label)).ok_or("a range has a label that is not there")? {
        ranges.push(range);
    }
    Ok(())
}

fn class_of(provider: &str, kind: &str) -> Option<AddressClass> {
    match kind {
        "tor" => Some(AddressClass::TorExit),
        // A relay of the operating system's maker is a consumer product, not a VPN that somebody chose.
        "vpn" if provider.contains("Private Relay") => Some(AddressClass::PrivateRelay),
        "vpn" => Some(AddressClass::Vpn),
        // Edge servers and crawlers are machines as well: no person's line ends there.
        "hosting" | "cdn" | "bot" => Some(AddressClass::Datacenter),
        _ => None,
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends in the middle of a record")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("it ends in the middle of a record")?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn table(labels: &[&str], v4: &[(u32, u32, u16)], v6: &[(u128, u128, u16)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(u16::try_from(labels.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(v4.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(v6.len()).unwrap().to_le_bytes());
        for label in labels {
            bytes.extend(u16::try_from(label.len()).unwrap().to_le_bytes());
            bytes.extend(label.as_bytes());
        }
        for (first, last, label) in v4 {
            bytes.extend(first.to_le_bytes());
            bytes.extend(last.to_le_bytes());
            bytes.extend(label.to_le_bytes());
        }
        for (first, last, label) in v6 {
            bytes.extend(first.to_be_bytes());
            bytes.extend(last.to_be_bytes());
            bytes.extend(label.to_le_bytes());
        }
        bytes
    }

    const LABELS: [&str; 4] = ["Tor\ttor", "Mullvad\tvpn", "Apple Private Relay\tvpn", "Hetzner\thosting"];

    #[test]
    fn each_class_gets_the_ranges_of_its_labels() {
        let bytes = table(&LABELS, &[(1, 2, 0), (5, 9, 1), (20, 30, 2)], &[(1 << 100, (1 << 100) + 1, 3)]);
        let count = |class| ranges(&bytes, class).unwrap().len();
        assert_eq!(count(AddressClass::TorExit), 1);
        assert_eq!(count(AddressClass::Vpn), 1);
        assert_eq!(count(AddressClass::PrivateRelay), 1);
        assert_eq!(count(AddressClass::Blacklisted), 0);
        let datacenter = ranges(&bytes, AddressClass::Datacenter).unwrap();
        assert_eq!(datacenter[0].first().to_string(), "0:10::");
    }

    #[test]
    fn broken_tables_are_refused_with_the_reason() {
        let whole = table(&LABELS, &[(1, 2, 0)], &[]);
        let refuse = |bytes: &[u8], reason: &str| {
            let found = ranges(bytes, AddressClass::Vpn).unwrap_err();
            assert!(found.contains(reason), "{found}");
        };
        refuse(&whole[..whole.len() - 1], "middle of a record");
        refuse(&[whole.as_slice(), &[0]].concat(), "1 bytes follow");
        refuse(b"IPORIGIM", "does not start");
        refuse(&table(&LABELS, &[(2, 1, 0)], &[]), "ends before it starts");
        refuse(&table(&LABELS, &[(1, 2, 9)], &[]), "not there");
        refuse(&table(&["no kind"], &[], &[]), "no kind");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ranges(&bytes, AddressClass::Vpn);
            bytes.splice(0..0, MAGIC.iter().copied().chain(VERSION.to_le_bytes()));
            let _ = ranges(&bytes, AddressClass::Vpn);
        }
    }
}
