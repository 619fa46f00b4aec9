//! A compact set of addresses: sorted ranges that neither overlap nor touch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A run of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Returns the range from `first` to `last`, or none where the families differ or the order is wrong.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<AddressRange> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(AddressRange { first, last })
    }

    /// Returns the network of `address` with this prefix length; bits of the host part are dropped.
    pub fn network(address: IpAddr, prefix_length: u8) -> Option<AddressRange> {
        match address {
            IpAddr::V4(address) => {
                let host_bits = 32u32.checked_sub(u32::from(prefix_length))?;
                let host_mask = u32::MAX.checked_shr(32 - host_bits).unwrap_or(0);
                let first = u32::from(address) & !host_mask;
                Some(AddressRange::v4(first, first | host_mask))
            }
            IpAddr::V6(address) => {
                let host_bits = 128u32.checked_sub(u32::from(prefix_length))?;
                let host_mask = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
                let first = u128::from(address) & !host_mask;
                Some(AddressRange::v6(first, first | host_mask))
            }
        }
    }

    /// Returns the first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Returns the last address, which belongs to the range.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Returns how many addresses the range holds, at most `u128::MAX`.
    pub fn len(&self) -> u128 {
        let (first, last) = self.bits();
        (last - first).saturating_add(1)
    }

    /// Returns false: a range holds at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Returns the address `offset` places after the first, or none past the end.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        let (first, last) = self.bits();
        let bits = first.checked_add(offset).filter(|bits| *bits <= last)?;
        Some(match self.first {
            // The sum is at most the last address of an IPv4 range, so it fits 32 bits.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(bits as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
        })
    }

    fn v4(first: u32, last: u32) -> AddressRange {
        AddressRange { first: Ipv4Addr::from(first).into(), last: Ipv4Addr::from(last).into() }
    }

    fn v6(first: u128, last: u128) -> AddressRange {
        AddressRange { first: Ipv6Addr::from(first).into(), last: Ipv6Addr::from(last).into() }
    }

    fn bits(&self) -> (u128, u128) {
        (address_bits(self.first), address_bits(self.last))
    }
}

fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// A set of addresses of both families, eight bytes a range for IPv4 and thirty-two for IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl RangeSet {
    /// Returns whether `address` is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => contains(&self.v4, u32::from(address)),
            IpAddr::V6(address) => contains(&self.v6, u128::from(address)),
        }
    }

    /// Returns the ranges in order, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = AddressRange> + '_ {
        let v4 = self.v4.iter().map(|&(first, last)| AddressRange::v4(first, last));
        let v6 = self.v6.iter().map(|&(first, last)| AddressRange::v6(first, last));
        v4.chain(v6)
    }

    /// Returns how many ranges are left after merging.
    pub fn range_count(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

impl FromIterator<AddressRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> RangeSet {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for range in ranges {
            match (range.first, range.last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((u32::from(first), u32::from(last))),
                (first, last) => v6.push((address_bits(first), address_bits(last))),
            }
        }
        RangeSet {
            v4: merge(v4, |last| last.checked_add(1)).into(),
            v6: merge(v6, |last| last.checked_add(1)).into(),
        }
    }
}

fn merge<T: Copy + Ord>(mut ranges: Vec<(T, T)>, successor: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            // A range that ends at the last address swallows everything after it.
            Some(open) if successor(open.1).is_none_or(|next| first <= next) => open.1 = open.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn contains<T: Copy + Ord>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    after.checked_sub(1).is_some_and(|at| value <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn range(first: u32, last: u32) -> AddressRange {
        AddressRange::v4(first.min(last), first.max(last))
    }

    #[test]
    fn networks_cover_their_prefix() {
        let check = |address: &str, prefix_length, first: &str, last: &str| {
            let found = AddressRange::network(address.parse().unwrap(), prefix_length).unwrap();
            assert_eq!((found.first().to_string(), found.last().to_string()), (first.into(), last.into()));
        };
        check("10.1.2.3", 8, "10.0.0.0", "10.255.255.255");
        check("10.1.2.3", 32, "10.1.2.3", "10.1.2.3");
        check("10.1.2.3", 0, "0.0.0.0", "255.255.255.255");
        check("2001:db8::1", 32, "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
        check("2001:db8::1", 0, "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert_eq!(AddressRange::network("10.1.2.3".parse().unwrap(), 33), None);
    }

    #[test]
    fn the_last_address_ends_a_range_without_overflow() {
        let set = RangeSet::from_iter([range(u32::MAX - 1, u32::MAX), range(u32::MAX, u32::MAX)]);
        assert_eq!(set.range_count(), 1);
        assert!(set.contains(IpAddr::V4(Ipv4Addr::BROADCAST)));
        assert!(!set.contains(IpAddr::V4(Ipv4Addr::new(255, 255, 255, 253))));
    }

    #[test]
    fn nth_stops_at_the_end() {
        let found = range(10, 12);
        assert_eq!(found.len(), 3);
        assert_eq!(found.nth(2), Some(IpAddr::V4(Ipv4Addr::from(12))));
        assert_eq!(found.nth(3), None);
    }

    proptest! {
        #[test]
        fn a_set_holds_what_its_ranges_hold(
            ends in prop::collection::vec((0u32..300, 0u32..300), 0..20),
            probe in 0u32..310,
        ) {
            let ranges: Vec<_> = ends.iter().map(|&(a, b)| range(a, b)).collect();
            let expected = ends.iter().any(|&(a, b)| (a.min(b)..=a.max(b)).contains(&probe));
            let set = RangeSet::from_iter(ranges);
            prop_assert_eq!(set.contains(IpAddr::V4(Ipv4Addr::from(probe))), expected);
            // What is left neither overlaps nor touches.
            prop_assert!(set.v4.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }

        #[test]
        fn families_do_not_mix(bits in any::<u32>()) {
            let set = RangeSet::from_iter([AddressRange::v6(0, u128::from(u32::MAX))]);
            prop_assert!(!set.contains(IpAddr::V4(Ipv4Addr::from(bits))));
        }
    }
}
