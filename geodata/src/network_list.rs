//! Lists of addresses and networks in the many layouts in which people publish them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::error::{Error, Result};
use crate::file::{self, DataFile};
use crate::iporigin;
use crate::mmdb;
use crate::name::{AddressClass, Format};
use crate::ranges::{AddressRange, RangeSet};

/// An address must be on this many of the counted lists; fewer are mostly mistakes.
const LIST_COUNT_MIN: u64 = 3;
/// Rows whose layout is looked at to tell that of the file.
const SHAPE_SAMPLE_COUNT: usize = 64;
/// Rows read in search of one whose layout is known.
const SHAPE_SEARCH_COUNT: usize = 1_000;
const REJECTED_SAMPLE_COUNT: usize = 8;
/// Wider networks are nobody's: a list that has one is a list of something else, or broken.
const PREFIX_LENGTH_V4_MIN: u32 = 8;
const PREFIX_LENGTH_V6_MIN: u32 = 16;
const MMDB_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// The marker stands at most this far before the end of the file.
const MMDB_METADATA_SIZE_BYTES_MAX: usize = 128 * 1024;

/// What the files of one class list: addresses, and operators all of whose addresses count.
#[derive(Debug, Default)]
pub(crate) struct NetworkList {
    pub ranges: RangeSet,
    pub autonomous_systems: Box<[u32]>,
}

/// Rows that could not be used: how many, and the first few with their reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedRows {
    count: u64,
    sample: Vec<(u64, &'static str)>,
}

impl RejectedRows {
    /// Returns how many rows were rejected.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns line number and reason of the first few; the line is 0 where rows have no line.
    pub fn sample(&self) -> &[(u64, &'static str)] {
        &self.sample
    }

    pub(crate) fn push(&mut self, line: u64, reason: &'static str) {
        self.count += 1;
        if self.sample.len() < REJECTED_SAMPLE_COUNT {
            self.sample.push((line, reason));
        }
    }

    pub(crate) fn push_many(&mut self, count: u64, reason: &'static str) {
        if count > 0 {
            self.push(0, reason);
            self.count += count - 1;
        }
    }
}

impl fmt::Display for RejectedRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} rejected", self.count)?;
        for (line, reason) in &self.sample {
            write!(formatter, "; line {line}: {reason}")?;
        }
        Ok(())
    }
}

impl NetworkList {
    /// Reads the files of one class; several are joined.
    pub(crate) fn open(files: &[DataFile<'_>], class: AddressClass) -> Result<(NetworkList, RejectedRows)> {
        let mut rows = Rows::default();
        for file in files {
            let kept_count = rows.kept_count;
            rows.read(file.path, file.format, class)?;
            if rows.kept_count == kept_count {
                let reason = rows.rejected.to_string();
                return Err(Error::NoUsableRow { path: file.path.to_owned(), reason });
            }
        }
        rows.autonomous_systems.sort_unstable();
        rows.autonomous_systems.dedup();
        let list = NetworkList {
            ranges: RangeSet::from_iter(rows.ranges),
            autonomous_systems: rows.autonomous_systems.into(),
        };
        Ok((list, rows.rejected))
    }
}

#[derive(Default)]
struct Rows {
    ranges: Vec<AddressRange>,
    autonomous_systems: Vec<u32>,
    kept_count: u64,
    rejected: RejectedRows,
}

impl Rows {
    fn read(&mut self, path: &Path, format: Option<Format>, class: AddressClass) -> Result<()> {
        let bytes = file::read_bytes(path)?;
        let format = match format {
            Some(format) => Some(format),
            None => binary_format(&bytes),
        };
        match format {
            Some(Format::Iporigin) => {
                let ranges =
                    iporigin::ranges(&bytes, class).map_err(|reason| Error::invalid(path, reason))?;
                self.extend(ranges);
            }
            Some(Format::Mmdb) => self.extend(mmdb::anonymous_networks(path, class)?),
            Some(Format::Json) => self.read_json(path, &bytes)?,
            Some(Format::GeoJson) => {
                let reason = "a list of addresses is not GeoJSON".to_owned();
                let data_set = class.data_set().as_str();
                return Err(Error::Unfit { path: path.to_owned(), data_set, reason });
            }
            format => {
                let text = String::from_utf8_lossy(&bytes);
                let shape = Shape::of(&text, format).ok_or_else(|| Error::NoUsableRow {
                    path: path.to_owned(),
                    reason: "no row has an address, a network or an autonomous system".to_owned(),
                })?;
                self.read_text(&text, shape);
            }
        }
        Ok(())
    }

    fn extend(&mut self, ranges: Vec<AddressRange>) {
        self.kept_count += ranges.len() as u64;
        self.ranges.extend(ranges);
    }

    fn read_text(&mut self, text: &str, shape: Shape) {
        for (line, row) in data_rows(text) {
            match shape.parse(row) {
                Parsed::Range(range) if is_too_wide(range) => self.rejected.push(line, "too wide a network"),
                Parsed::Range(range) => {
                    self.ranges.push(range);
                    self.kept_count += 1;
                }
                Parsed::AutonomousSystem(number) => {
                    self.autonomous_systems.push(number);
                    self.kept_count += 1;
                }
                Parsed::Skipped => {}
                Parsed::Rejected(reason) => self.rejected.push(line, reason),
            }
        }
    }

    fn read_json(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
        let mut pending = vec![&value];
        while let Some(value) = pending.pop() {
            match value {
                serde_json::Value::Array(values) => pending.extend(values),
                serde_json::Value::Object(fields) => pending.extend(fields.values()),
                serde_json::Value::String(text) => match parse_network(text) {
                    Some(range) if is_too_wide(range) => self.rejected.push(0, "too wide a network"),
                    Some(range) => {
                        self.ranges.push(range);
                        self.kept_count += 1;
                    }
                    None => {}
                },
                _ => {}
            }
        }
        Ok(())
    }
}

/// Tells the formats that are not rows of text by how the file starts or ends.
fn binary_format(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(iporigin::MAGIC) {
        return Some(Format::Iporigin);
    }
    let tail = &bytes[bytes.len().saturating_sub(MMDB_METADATA_SIZE_BYTES_MAX)..];
    if tail.windows(MMDB_MARKER.len()).any(|window| window == MMDB_MARKER) {
        return Some(Format::Mmdb);
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    // An IPv6 address with a port starts with a bracket too; JSON has a quote or another bracket inside.
    match first {
        Some(b'{') => Some(Format::Json),
        Some(b'[') if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() => Some(Format::Json),
        _ => None,
    }
}

/// The rows with their line numbers from 1, without comments and empty lines.
fn data_rows(text: &str) -> impl Iterator<Item = (u64, &str)> {
    (1u64..).zip(text.lines()).filter_map(|(line, row)| {
        let row = row.trim_start_matches('\u{feff}').trim();
        let is_comment = row.is_empty() || row.starts_with(['#', ';']) || row.starts_with("//");
        (!is_comment).then_some((line, row))
    })
}

/// How the rows of a text file are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    Address,
    Range,
    Counted,
    /// The address is in this column, counted from 0.
    Column(usize),
    AutonomousSystem,
}

enum Parsed {
    Range(AddressRange),
    AutonomousSystem(u32),
    /// Well formed and not wanted: a header, or an address on too few lists.
    Skipped,
    Rejected(&'static str),
}

impl Shape {
    /// Returns the layout that most rows have, or the one that `format` forces.
    fn of(text: &str, format: Option<Format>) -> Option<Shape> {
        match format {
            Some(Format::Addresses) => return Some(Shape::Address),
            Some(Format::Ranges) => return Some(Shape::Range),
            Some(Format::Counted) => return Some(Shape::Counted),
            Some(Format::Asn) => return Some(Shape::AutonomousSystem),
            _ => {}
        }
        let mut found: Vec<(usize, Shape)> = Vec::new();
        let rows = data_rows(text).take(SHAPE_SEARCH_COUNT);
        let shapes = rows.filter_map(|(_, row)| match format {
            Some(Format::Csv) => address_column(row).map(Shape::Column),
            _ => Shape::of_row(row),
        });
        for shape in shapes.take(SHAPE_SAMPLE_COUNT) {
            match found.iter_mut().find(|(_, known)| *known == shape) {
                Some((count, _)) => *count += 1,
                None => found.push((1, shape)),
            }
        }
        // Of two layouts equally frequent, the one seen first.
        found.into_iter().rev().max_by_key(|(count, _)| *count).map(|(_, shape)| shape)
    }

    fn of_row(row: &str) -> Option<Shape> {
        let bare = without_comment(row);
        if parse_network(bare).is_some() {
            return Some(Shape::Address);
        }
        if row.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("asn")) || has_number_prefix(bare) {
            return Some(Shape::AutonomousSystem);
        }
        if parse_range(bare).is_some() {
            return Some(Shape::Range);
        }
        if parse_counted(bare).is_some() {
            return Some(Shape::Counted);
        }
        address_column(row).map(Shape::Column)
    }

    fn parse(self, row: &str) -> Parsed {
        let bare = without_comment(row);
        match self {
            Shape::Address => {
                parse_network(bare).map_or(Parsed::Rejected("not an address or network"), Parsed::Range)
            }
            Shape::Range => match parse_range(bare).or_else(|| parse_network(bare)) {
                Some(range) => Parsed::Range(range),
                None => Parsed::Rejected("not a first and a last address"),
            },
            Shape::Counted => match parse_counted(bare) {
                Some((range, count)) if count >= LIST_COUNT_MIN => Parsed::Range(range),
                Some(_) => Parsed::Skipped,
                None => Parsed::Rejected("not an address and a count"),
            },
            Shape::Column(at) => match columns(row).nth(at) {
                Some(field) => match parse_network(field) {
                    Some(range) => Parsed::Range(range),
                    None if is_column_title(field) => Parsed::Skipped,
                    None => Parsed::Rejected("no address in the column of addresses"),
                },
                None => Parsed::Rejected("too few columns"),
            },
            Shape::AutonomousSystem => match parse_autonomous_system(bare) {
                Some(number) => Parsed::AutonomousSystem(number),
                None if bare.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("asn")) => {
                    Parsed::Skipped
                }
                None => Parsed::Rejected("not the number of an autonomous system"),
            },
        }
    }
}

fn without_comment(row: &str) -> &str {
    row.split(['#', ';']).next().unwrap_or(row).trim()
}

fn columns(row: &str) -> impl Iterator<Item = &str> {
    row.split([',', ';', '\t']).map(|field| field.trim().trim_matches('"').trim())
}

fn address_column(row: &str) -> Option<usize> {
    columns(row).position(|field| parse_network(field).is_some())
}

fn is_column_title(field: &str) -> bool {
    const TITLES: [&str; 9] =
        ["ip", "ipaddr", "ip_address", "address", "network", "cidr", "prefix", "host", "range"];
    TITLES.iter().any(|title| field.eq_ignore_ascii_case(title))
}

fn has_number_prefix(row: &str) -> bool {
    let mut bytes = row.bytes();
    matches!(
        (bytes.next(), bytes.next(), bytes.next()),
        (Some(b'A' | b'a'), Some(b'S' | b's'), Some(b'0'..=b'9'))
    )
}

fn parse_autonomous_system(row: &str) -> Option<u32> {
    let field = row.split([',', '\t', ' ']).next()?.trim().trim_matches('"');
    let digits = if has_number_prefix(field) { &field[2..] } else { field };
    digits.parse().ok().filter(|number| *number != 0)
}

/// Parses an address, also with a scheme before it and a port after it, as lists of proxies have them.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let host = text.split_once("://").map_or(text, |(_, host)| host);
    let socket: SocketAddr = host.parse().ok()?;
    Some(socket.ip())
}

/// Parses an address or a network in CIDR notation; bits of the host part are dropped.
fn parse_network(text: &str) -> Option<AddressRange> {
    // An address carried in an IPv6 one is looked up as IPv4, so it has to be stored as IPv4.
    let unwrap = |address: IpAddr| address.to_canonical();
    match text.split_once('/') {
        Some((address, length)) if !length.starts_with('/') => {
            let address: IpAddr = address.trim().parse().ok()?;
            let length: u8 = length.trim().parse().ok()?;
            match (address, address.to_canonical()) {
                (IpAddr::V6(_), inner @ IpAddr::V4(_)) => {
                    AddressRange::network(inner, length.checked_sub(96)?)
                }
                _ => AddressRange::network(address, length),
            }
        }
        _ => parse_address(text).map(unwrap).and_then(|address| AddressRange::new(address, address)),
    }
}

fn parse_range(row: &str) -> Option<AddressRange> {
    let range = |first: &str, last: &str| {
        AddressRange::new(parse_address(first)?.to_canonical(), parse_address(last)?.to_canonical())
    };
    let mut fields = columns(row);
    let (first, second) = (fields.next()?, fields.next());
    // Columns first, because a hyphen may stand in the name of an operator.
    let by_columns = second.and_then(|second| range(first, second));
    by_columns.or_else(|| first.split_once('-').and_then(|(first, last)| range(first, last)))
}

fn parse_counted(row: &str) -> Option<(AddressRange, u64)> {
    let mut fields = row.split([' ', '\t', ',']).filter(|field| !field.is_empty());
    let (address, count) = (fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    Some((parse_network(address)?, count.parse().ok()?))
}

fn is_too_wide(range: AddressRange) -> bool {
    let (address_bits, prefix_length_min) = match range.first() {
        IpAddr::V4(_) => (32, PREFIX_LENGTH_V4_MIN),
        IpAddr::V6(_) => (128, PREFIX_LENGTH_V6_MIN),
    };
    range.len() > 1u128 << (address_bits - prefix_length_min)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    fn open(content: &str, format: Option<Format>) -> Result<(NetworkList, RejectedRows)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        NetworkList::open(&[DataFile { path: file.path(), format, is_verified: false }], AddressClass::Vpn)
    }

    #[track_caller]
    fn check(content: &str, expected: &[&str]) {
        let (list, rejected) = open(content, None).unwrap();
        let found: Vec<String> =
            list.ranges.iter().map(|range| format!("{}-{}", range.first(), range.last())).collect();
        assert_eq!(found, expected, "{rejected}");
    }

    #[test]
    fn every_published_layout_is_told_from_its_rows() {
        check("1.2.3.4\n5.6.7.0/24 # office\n", &["1.2.3.4-1.2.3.4", "5.6.7.0-5.6.7.255"]);
        check(
            "; a comment\n# another\n2001:db8::/32\n",
            &["2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
        );
        check("3.0.0.0,3.1.255.255,Amazon AWS,http://example.com/\n", &["3.0.0.0-3.1.255.255"]);
        check("3.0.0.0,3.1.255.255,A-B; C #1,http://a-b.example.com/\n", &["3.0.0.0-3.1.255.255"]);
        check("3.0.0.0 - 3.0.0.9\n3.0.1.0-3.0.1.1\n", &["3.0.0.0-3.0.0.9", "3.0.1.0-3.0.1.1"]);
        check("# IP\tcount\n1.1.1.1\t10\n2.2.2.2\t2\n3.3.3.3\t3\n", &["1.1.1.1-1.1.1.1", "3.3.3.3-3.3.3.3"]);
        check(
            "fingerprint, ipaddr, port\nAB, 204.8.96.141, 444\nAB, 2620:7:6003::141, 81\n",
            &["204.8.96.141-204.8.96.141", "2620:7:6003::141-2620:7:6003::141"],
        );
        check("ip,company_name\n45.61.187.248,\"Air VPN\"\n", &["45.61.187.248-45.61.187.248"]);
        check(
            "socks4://144.31.222.106:7890\nhttp://85.8.47.198:7080\n",
            &["85.8.47.198-85.8.47.198", "144.31.222.106-144.31.222.106"],
        );
        check(
            r#"[{"host": "1.2.3.4", "port": 1, "exit_ip": "5.6.7.8"}]"#,
            &["1.2.3.4-1.2.3.4", "5.6.7.8-5.6.7.8"],
        );
        check(
            "[2001:db8::1]:443\n[2001:db8::3]:80\n",
            &["2001:db8::1-2001:db8::1", "2001:db8::3-2001:db8::3"],
        );
        check("::ffff:9.9.9.9\n", &["9.9.9.9-9.9.9.9"]);
    }

    #[test]
    fn autonomous_systems_are_told_from_addresses() {
        let (list, rejected) = open("AS45090 # cloud\nAS3223 # hosting\nwhat\n", None).unwrap();
        assert_eq!(*list.autonomous_systems, [3223, 45090]);
        assert_eq!(rejected.sample(), [(3, "not the number of an autonomous system")]);

        let (list, rejected) =
            open("ASN,Entity\n198375,\"INULOGIC SARL, FR\"\n51447, \"RootLayer, NL\"\n", None).unwrap();
        assert_eq!((&*list.autonomous_systems, rejected.count()), (&[51447, 198375][..], 0));

        let (list, _) = open("64500\n64501\n", Some(Format::Asn)).unwrap();
        assert_eq!(*list.autonomous_systems, [64500, 64501]);
    }

    #[test]
    fn bad_rows_are_counted_and_the_first_are_named() {
        let (list, rejected) = open("1.2.3.4\n1.2.3.400\nhello\n0.0.0.0/0\n::/0\n", None).unwrap();
        assert_eq!(list.ranges.range_count(), 1);
        assert_eq!(rejected.count(), 4);
        assert_eq!(rejected.sample()[0], (2, "not an address or network"));
        assert_eq!(rejected.sample()[2], (4, "too wide a network"));
    }

    #[test]
    fn a_file_without_a_usable_row_is_an_error() {
        assert!(matches!(open("", None), Err(Error::Empty { .. })));
        assert!(matches!(open("# only a comment\n", None), Err(Error::NoUsableRow { .. })));
        assert!(matches!(open("hello\nworld\n", None), Err(Error::NoUsableRow { .. })));
        assert!(matches!(open("1.1.1.1\t1\n", Some(Format::Counted)), Err(Error::NoUsableRow { .. })));
        assert!(matches!(open("{\"a\": 1}", None), Err(Error::NoUsableRow { .. })));
        assert!(matches!(open("{\"a\": ", None), Err(Error::Json { .. })));
        assert!(matches!(open("1.1.1.1\n", Some(Format::GeoJson)), Err(Error::Unfit { .. })));
    }

    #[test]
    fn a_long_list_of_errors_keeps_a_short_sample() {
        let content = format!("1.2.3.4\n{}", "nonsense\n".repeat(1000));
        let (_, rejected) = open(&content, None).unwrap();
        assert_eq!((rejected.count(), rejected.sample().len()), (1000, REJECTED_SAMPLE_COUNT));
    }
}
