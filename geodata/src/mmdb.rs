//! MaxMind DB files: memory-mapped, their record layout found by looking, read without copying.
// Mapping a file into memory is the one thing here that the compiler cannot check.
#![allow(unsafe_code)]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions, path};
use memmap2::Mmap;
use rustc_hash::FxHashSet;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::file::DataFile;
use crate::name::{AddressClass, DataSetName};
use crate::ranges::AddressRange;

/// Networks looked through in a file that nobody vouches for: all of a country file, and of larger ones as
/// many as take a fraction of a second.
const LOOKED_THROUGH_COUNT_MAX: usize = 1_000_000;
/// How many networks are read to tell the layout: enough to get past records without the wanted key.
const LAYOUT_SAMPLE_COUNT: usize = 256;
/// How many addresses are looked up in every file before it is used.
const PROBE_COUNT: u32 = 4096;

/// A mapped file whose records are of one known kind.
pub(crate) struct MmdbFile {
    reader: Reader<Mmap>,
    layout: Layout,
}

/// How a record names country and city.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `country_code`, `state1`, `city` and so on side by side.
    Flat,
    /// GeoIP2: `country.iso_code`, `city.names.en` and so on.
    Nested,
}

/// Where an address is, as far as a record tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PlaceRecord<'a> {
    pub country_code: Option<&'a str>,
    pub continent_code: Option<&'a str>,
    pub state: Option<&'a str>,
    pub city: Option<&'a str>,
    pub postal_code: Option<&'a str>,
    pub time_zone: Option<&'a str>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub accuracy_radius_km: Option<u32>,
}

impl MmdbFile {
    /// Maps a file and checks that it can serve `data_set`.
    pub(crate) fn open(file: &DataFile<'_>, data_set: DataSetName) -> Result<MmdbFile> {
        let DataFile { path, is_verified, .. } = *file;
        let opened = File::open(path).map_err(Error::read(path))?;
        let size_bytes = opened.metadata().map_err(Error::read(path))?.len();
        if size_bytes == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        // SAFETY: the map is read only. Installed files are replaced by rename and never written in place,
        // so the mapped bytes keep their length; whoever truncates a file in use stops the process with a
        // signal and cannot make it read outside the map.
        let map = unsafe { Mmap::map(&opened) }.map_err(Error::read(path))?;
        let reader = Reader::from_source(map).map_err(Error::mmdb(path))?;
        let layout = find_layout(&reader, data_set)
            .map_err(Error::mmdb(path))?
            .map_err(|reason| Error::Unfit { path: path.to_owned(), data_set: data_set.as_str(), reason })?;
        let mapped = MmdbFile { reader, layout };
        mapped.probe(data_set).map_err(Error::mmdb(path))?;
        if !is_verified {
            mapped.look_through(data_set).map_err(Error::mmdb(path))?;
        }
        Ok(mapped)
    }

    /// Returns where `address` is, or none where the file has no record for it.
    pub(crate) fn place(&self, address: IpAddr) -> Result<Option<PlaceRecord<'_>>, MaxMindDbError> {
        if !self.serves(address) {
            return Ok(None);
        }
        self.decode_place(&self.reader.lookup(address)?)
    }

    /// Returns number and name of the autonomous system that announces `address`.
    pub(crate) fn autonomous_system(
        &self,
        address: IpAddr,
    ) -> Result<Option<(u32, Option<&str>)>, MaxMindDbError> {
        if !self.serves(address) {
            return Ok(None);
        }
        decode_autonomous_system(&self.reader.lookup(address)?)
    }

    /// Returns the networks that `keep` accepts by their country code.
    pub(crate) fn country_networks(
        &self,
        mut keep: impl FnMut(&str, AddressRange),
    ) -> Result<(), MaxMindDbError> {
        for found in self.reader.networks(WithinOptions::default())? {
            let found = found?;
            let code: Option<&str> = match self.layout {
                Layout::Flat => found.decode_path(&path!["country_code"])?,
                Layout::Nested => found.decode_path(&path!["country", "iso_code"])?,
            };
            if let (Some(code), Some(range)) = (filled(code), range_of(&found)?) {
                keep(code, range);
            }
        }
        Ok(())
    }

    fn decode_place<'a>(
        &'a self,
        found: &LookupResult<'a, Mmap>,
    ) -> Result<Option<PlaceRecord<'a>>, MaxMindDbError> {
        Ok(match self.layout {
            Layout::Flat => found.decode::<FlatPlace<'_>>()?.map(PlaceRecord::from),
            Layout::Nested => found.decode::<NestedPlace<'_>>()?.map(PlaceRecord::from),
        })
    }

    fn serves(&self, address: IpAddr) -> bool {
        address.is_ipv4() || self.reader.metadata().ip_version == 6
    }

    /// Reads records spread over the IPv4 space, so that a damaged file shows itself before it is used.
    fn probe(&self, data_set: DataSetName) -> Result<(), MaxMindDbError> {
        for step in 0..PROBE_COUNT {
            let address = IpAddr::V4(Ipv4Addr::from(step * (u32::MAX / PROBE_COUNT)));
            match data_set {
                DataSetName::IpAsn => self.autonomous_system(address).map(drop)?,
                _ => self.place(address).map(drop)?,
            }
        }
        Ok(())
    }

    /// Walks the tree and reads each record once.
    ///
    /// The library has a check of its own, which refuses files for an empty description, as those of the
    /// default data sets have.
    fn look_through(&self, data_set: DataSetName) -> Result<(), MaxMindDbError> {
        let mut seen = FxHashSet::default();
        for found in self.reader.networks(WithinOptions::default())?.take(LOOKED_THROUGH_COUNT_MAX) {
            let found = found?;
            if found.offset().is_some_and(|offset| seen.insert(offset)) {
                match data_set {
                    DataSetName::IpAsn => decode_autonomous_system(&found).map(drop)?,
                    _ => self.decode_place(&found).map(drop)?,
                }
            }
        }
        Ok(())
    }
}

fn decode_autonomous_system<'a>(
    found: &LookupResult<'a, Mmap>,
) -> Result<Option<(u32, Option<&'a str>)>, MaxMindDbError> {
    let record = found.decode::<AutonomousSystem<'_>>()?;
    Ok(record.and_then(|record| {
        let number = record.autonomous_system_number.and_then(Number::positive)?;
        Some((number, filled(record.autonomous_system_organization)))
    }))
}

/// Reads the networks that a GeoIP2 Anonymous-IP file marks as `class`.
pub(crate) fn anonymous_networks(path: &Path, class: AddressClass) -> Result<Vec<AddressRange>> {
    let key = match class {
        AddressClass::TorExit => "is_tor_exit_node",
        AddressClass::Vpn => "is_anonymous_vpn",
        AddressClass::Datacenter => "is_hosting_provider",
        AddressClass::PublicProxy => "is_public_proxy",
        AddressClass::PrivateRelay | AddressClass::Tunnel | AddressClass::Blacklisted => {
            return Err(Error::Unfit {
                path: path.to_owned(),
                data_set: class.data_set().as_str(),
                reason: "no flag of an mmdb file stands for it".to_owned(),
            });
        }
    };
    let reader = Reader::open_readfile(path).map_err(Error::mmdb(path))?;
    let mut ranges = Vec::new();
    let networks = reader.networks(WithinOptions::default()).map_err(Error::mmdb(path))?;
    for found in networks {
        let found = found.map_err(Error::mmdb(path))?;
        let flag: Option<bool> = found.decode_path(&path![key]).map_err(Error::mmdb(path))?;
        if flag == Some(true) {
            ranges.extend(range_of(&found).map_err(Error::mmdb(path))?);
        }
    }
    Ok(ranges)
}

fn range_of<S: AsRef<[u8]>>(found: &LookupResult<'_, S>) -> Result<Option<AddressRange>, MaxMindDbError> {
    // The IPv4 part of a tree for both families comes as IPv4 networks.
    let network = found.network()?;
    Ok(AddressRange::network(network.ip(), network.prefix()))
}

/// Looks at the first records; the inner error says what was found instead of what is needed.
fn find_layout(
    reader: &Reader<Mmap>,
    data_set: DataSetName,
) -> Result<Result<Layout, String>, MaxMindDbError> {
    for found in reader.networks(WithinOptions::default())?.take(LAYOUT_SAMPLE_COUNT) {
        let found = found?;
        let has =
            |key: &str| found.decode_path::<serde::de::IgnoredAny>(&path![key]).map(|value| value.is_some());
        if data_set == DataSetName::IpAsn {
            if has("autonomous_system_number")? {
                return Ok(Ok(Layout::Flat));
            }
        } else if has("country_code")? || has("state1")? {
            return Ok(Ok(Layout::Flat));
        } else if has("country")? || has("continent")? || has("location")? {
            return Ok(Ok(Layout::Nested));
        }
    }
    let needed = match data_set {
        DataSetName::IpAsn => "autonomous_system_number",
        _ => "country_code or country",
    };
    let database = &reader.metadata().database_type;
    Ok(Err(format!("no record of this {database:?} database has {needed}")))
}

#[derive(Deserialize)]
struct FlatPlace<'a> {
    country_code: Option<&'a str>,
    #[serde(alias = "state")]
    state1: Option<&'a str>,
    city: Option<&'a str>,
    #[serde(alias = "postal_code")]
    postcode: Option<&'a str>,
    #[serde(alias = "time_zone")]
    timezone: Option<&'a str>,
    latitude: Option<Number>,
    longitude: Option<Number>,
}

impl<'a> From<FlatPlace<'a>> for PlaceRecord<'a> {
    fn from(record: FlatPlace<'a>) -> PlaceRecord<'a> {
        PlaceRecord {
            country_code: filled(record.country_code),
            continent_code: None,
            state: filled(record.state1),
            city: filled(record.city),
            postal_code: filled(record.postcode),
            time_zone: filled(record.timezone),
            latitude: record.latitude.map(|number| number.0),
            longitude: record.longitude.map(|number| number.0),
            accuracy_radius_km: None,
        }
    }
}

#[derive(Deserialize)]
struct NestedPlace<'a> {
    #[serde(borrow, default)]
    country: Coded<'a>,
    #[serde(borrow, default)]
    continent: Coded<'a>,
    #[serde(borrow, default)]
    subdivisions: Subdivisions<'a>,
    #[serde(borrow, default)]
    city: Named<'a>,
    #[serde(borrow, default)]
    postal: Coded<'a>,
    #[serde(borrow, default)]
    location: Location<'a>,
}

#[derive(Default, Deserialize)]
struct Coded<'a> {
    #[serde(alias = "iso_code")]
    code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
struct Location<'a> {
    latitude: Option<Number>,
    longitude: Option<Number>,
    time_zone: Option<&'a str>,
    accuracy_radius: Option<Number>,
}

/// A number of any of the types that writers of these files choose for the same field.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct AnyNumber;
        impl serde::de::Visitor<'_> for AnyNumber {
            type Value = Number;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a number")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }
            fn visit_f32<E>(self, value: f32) -> Result<Number, E> {
                // Of a longitude, a single-precision number keeps five places; the rest is noise.
                Ok(Number((f64::from(value) * 1e5).round() / 1e5))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
        }
        deserializer.deserialize_any(AnyNumber)
    }
}

impl Number {
    /// Returns the number as a whole one above zero, or none where it is not.
    fn positive(self) -> Option<u32> {
        let is_whole = self.0.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&self.0);
        is_whole.then_some(self.0 as u32)
    }
}

/// The first of the subdivisions, which is the largest; the others are read past.
#[derive(Default)]
struct Subdivisions<'a>(Named<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Subdivisions<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for First<'a> {
            type Value = Subdivisions<'a>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of subdivisions")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let first = list.next_element::<Named<'a>>()?.unwrap_or_default();
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Subdivisions(first))
            }
        }
        deserializer.deserialize_seq(First(std::marker::PhantomData))
    }
}

impl<'a> From<NestedPlace<'a>> for PlaceRecord<'a> {
    fn from(record: NestedPlace<'a>) -> PlaceRecord<'a> {
        PlaceRecord {
            country_code: filled(record.country.code),
            continent_code: filled(record.continent.code),
            state: filled(record.subdivisions.0.names.en),
            city: filled(record.city.names.en),
            postal_code: filled(record.postal.code),
            time_zone: filled(record.location.time_zone),
            latitude: record.location.latitude.map(|number| number.0),
            longitude: record.location.longitude.map(|number| number.0),
            accuracy_radius_km: record.location.accuracy_radius.and_then(Number::positive),
        }
    }
}

#[derive(Deserialize)]
struct AutonomousSystem<'a> {
    autonomous_system_number: Option<Number>,
    autonomous_system_organization: Option<&'a str>,
}

/// Data files write an unknown name as an empty one; here unknown is none.
fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
