//! What reference data says about an address: where it is, who announces it, and on which lists it is.

use std::net::IpAddr;
use std::path::Path;

use crate::address::{Embedding, reserved, unwrap_embedded};
use crate::autonomous_system::AutonomousSystemTable;
use crate::error::{Error, Result};
use crate::file::DataFile;
use crate::mmdb::{MmdbFile, PlaceRecord};
use crate::name::{AddressClass, DataSetName, Format};
use crate::network_list::{NetworkList, RejectedRows};
use crate::ranges::AddressRange;

/// The data sets about addresses that are in use, loaded once and never changed.
#[derive(Default)]
pub struct IpData {
    country: Vec<MmdbFile>,
    city: Vec<MmdbFile>,
    autonomous_systems: AutonomousSystems,
    lists: [Option<NetworkList>; AddressClass::ALL.len()],
}

#[derive(Default)]
enum AutonomousSystems {
    #[default]
    Absent,
    Files(Vec<MmdbFile>),
    Table(AutonomousSystemTable),
}

/// What is known about one address; none is unknown, or that the data set is not configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IpFacts<'a> {
    /// The address that was looked up, which is the inner one where it was carried in another.
    pub address: IpAddr,
    /// How the address was carried, if it was.
    pub embedding: Option<Embedding>,
    /// Why nobody on the public Internet has this address. When set, no lookup applies and all else is none.
    pub reserved: Option<&'static str>,
    /// ISO 3166-1 alpha-2, from `ip.country`, or from `ip.city` where the former has nothing.
    pub country_code: Option<&'a str>,
    /// The country in which `ip.city` puts the address; state, city and position are of this country.
    pub city_country_code: Option<&'a str>,
    pub continent_code: Option<&'a str>,
    pub state: Option<&'a str>,
    pub city: Option<&'a str>,
    pub postal_code: Option<&'a str>,
    pub time_zone: Option<&'a str>,
    pub latitude: Option<f64>,
    pub longitude: Option<f64>,
    pub accuracy_radius_km: Option<u32>,
    /// The autonomous system that announces the address.
    pub asn: Option<u32>,
    /// The operator of that autonomous system.
    pub service_provider: Option<&'a str>,
    pub tor_exit: Option<bool>,
    pub vpn: Option<bool>,
    pub datacenter: Option<bool>,
    pub public_proxy: Option<bool>,
    pub private_relay: Option<bool>,
    pub tunnel: Option<bool>,
    pub blacklisted: Option<bool>,
    /// A data set whose record for this address is damaged; what it would have said is none.
    pub failed: Option<DataSetName>,
}

impl<'a> IpFacts<'a> {
    fn unknown(address: IpAddr, embedding: Option<Embedding>) -> IpFacts<'a> {
        IpFacts {
            address,
            embedding,
            reserved: None,
            country_code: None,
            city_country_code: None,
            continent_code: None,
            state: None,
            city: None,
            postal_code: None,
            time_zone: None,
            latitude: None,
            longitude: None,
            accuracy_radius_km: None,
            asn: None,
            service_provider: None,
            tor_exit: None,
            vpn: None,
            datacenter: None,
            public_proxy: None,
            private_relay: None,
            tunnel: None,
            blacklisted: None,
            failed: None,
        }
    }

    /// Returns whether the address is of `class`, or none where no list of that class is configured.
    pub fn class(&self, class: AddressClass) -> Option<bool> {
        match class {
            AddressClass::TorExit => self.tor_exit,
            AddressClass::Vpn => self.vpn,
            AddressClass::Datacenter => self.datacenter,
            AddressClass::PublicProxy => self.public_proxy,
            AddressClass::PrivateRelay => self.private_relay,
            AddressClass::Tunnel => self.tunnel,
            AddressClass::Blacklisted => self.blacklisted,
        }
    }

    fn set_class(&mut self, class: AddressClass, value: Option<bool>) {
        let field = match class {
            AddressClass::TorExit => &mut self.tor_exit,
            AddressClass::Vpn => &mut self.vpn,
            AddressClass::Datacenter => &mut self.datacenter,
            AddressClass::PublicProxy => &mut self.public_proxy,
            AddressClass::PrivateRelay => &mut self.private_relay,
            AddressClass::Tunnel => &mut self.tunnel,
            AddressClass::Blacklisted => &mut self.blacklisted,
        };
        *field = value;
    }

    fn set_place(&mut self, place: PlaceRecord<'a>) {
        self.city_country_code = place.country_code;
        self.continent_code = self.continent_code.or(place.continent_code);
        self.state = place.state;
        self.city = place.city;
        self.postal_code = place.postal_code;
        self.time_zone = place.time_zone;
        self.latitude = place.latitude;
        self.longitude = place.longitude;
        self.accuracy_radius_km = place.accuracy_radius_km;
    }
}

impl IpData {
    /// Returns what is known about `address`; strings are borrowed from the data.
    ///
    /// An IPv4 address carried in an IPv6 one (mapped, 6to4, Teredo, NAT64) is looked up as itself; lists
    /// are asked for both, because a list may name the carrying address. For a reserved address nothing is
    /// looked up.
    pub fn lookup(&self, address: IpAddr) -> IpFacts<'_> {
        let outer = address;
        let (address, embedding) = unwrap_embedded(address);
        let mut facts = IpFacts::unknown(address, embedding);
        facts.reserved = reserved(address);
        if facts.reserved.is_some() {
            return facts;
        }

        match first_place(&self.country, address) {
            Ok(place) => {
                facts.country_code = place.country_code;
                facts.continent_code = place.continent_code;
            }
            Err(_) => facts.failed = Some(DataSetName::IpCountry),
        }
        match first_place(&self.city, address) {
            Ok(place) => facts.set_place(place),
            Err(_) => facts.failed = Some(DataSetName::IpCity),
        }
        facts.country_code = facts.country_code.or(facts.city_country_code);
        match self.autonomous_systems.lookup(address) {
            Ok(Some((number, name))) => {
                facts.asn = Some(number);
                facts.service_provider = name;
            }
            Ok(None) => {}
            Err(_) => facts.failed = Some(DataSetName::IpAsn),
        }
        for (class, list) in AddressClass::ALL.into_iter().zip(&self.lists) {
            let is_listed = list.as_ref().map(|list| {
                list.ranges.contains(address)
                    || (embedding.is_some() && list.ranges.contains(outer))
                    || facts.asn.is_some_and(|asn| list.autonomous_systems.binary_search(&asn).is_ok())
            });
            facts.set_class(class, is_listed);
        }
        facts
    }

    /// Returns whether a data set about addresses is in use.
    pub fn is_configured(&self, name: DataSetName) -> bool {
        match name {
            DataSetName::IpCountry => !self.country.is_empty(),
            DataSetName::IpCity => !self.city.is_empty(),
            DataSetName::IpAsn => !matches!(self.autonomous_systems, AutonomousSystems::Absent),
            name => AddressClass::ALL
                .into_iter()
                .zip(&self.lists)
                .any(|(class, list)| class.data_set() == name && list.is_some()),
        }
    }

    /// Returns the merged ranges that the list of `class` names; empty where none is configured.
    ///
    /// A list that names autonomous systems only has no ranges.
    pub fn class_networks(&self, class: AddressClass) -> Vec<AddressRange> {
        let list = self.lists[class as usize].as_ref();
        list.map_or_else(Vec::new, |list| list.ranges.iter().collect())
    }

    /// Returns the IPv4 networks of a country, in order, from `ip.country` or else from `ip.city`.
    ///
    /// This walks the whole file, which takes a tenth of a second and more: keep the result.
    pub fn country_networks(&self, country_code: &str) -> Result<Vec<AddressRange>> {
        let (files, name) = match self.country.as_slice() {
            [] => (self.city.as_slice(), DataSetName::IpCity),
            files => (files, DataSetName::IpCountry),
        };
        let mut networks = Vec::new();
        for file in files {
            file.country_networks(|code, range| {
                if code.eq_ignore_ascii_case(country_code) && range.first().is_ipv4() {
                    networks.push(range);
                }
            })
            .map_err(Error::mmdb(Path::new(name.as_str())))?;
        }
        networks.sort_unstable();
        Ok(networks)
    }

    /// Loads the files of one data set into this; it replaces what was there for the data set.
    pub(crate) fn load(&mut self, name: DataSetName, files: &[DataFile<'_>]) -> Result<RejectedRows> {
        let open_all = || -> Result<Vec<MmdbFile>> {
            files
                .iter()
                .map(|file| {
                    refuse_other_formats(file, name, Format::Mmdb)?;
                    MmdbFile::open(file, name)
                })
                .collect()
        };
        match name {
            DataSetName::IpCountry => self.country = open_all()?,
            DataSetName::IpCity => self.city = open_all()?,
            DataSetName::IpAsn => return self.load_autonomous_systems(files),
            name => {
                let class = AddressClass::ALL.into_iter().find(|class| class.data_set() == name);
                // Callers pass names of address data only, and each but the three above has its class.
                let class = class.ok_or(Error::UnsupportedDataSet { name: name.as_str() })?;
                let (list, rejected) = NetworkList::open(files, class)?;
                self.lists[class as usize] = Some(list);
                return Ok(rejected);
            }
        }
        Ok(RejectedRows::default())
    }

    fn load_autonomous_systems(&mut self, files: &[DataFile<'_>]) -> Result<RejectedRows> {
        let name = DataSetName::IpAsn;
        let is_mmdb = files.iter().all(|file| match file.format {
            Some(format) => format == Format::Mmdb,
            None => file.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mmdb")),
        });
        for file in files {
            refuse_other_formats(file, name, if is_mmdb { Format::Mmdb } else { Format::Csv })?;
        }
        if is_mmdb {
            let files: Result<_> = files.iter().map(|file| MmdbFile::open(file, name)).collect();
            self.autonomous_systems = AutonomousSystems::Files(files?);
            return Ok(RejectedRows::default());
        }
        let paths: Vec<&Path> = files.iter().map(|file| file.path).collect();
        let (table, rejected) = AutonomousSystemTable::open(&paths)?;
        self.autonomous_systems = AutonomousSystems::Table(table);
        Ok(rejected)
    }
}

impl AutonomousSystems {
    fn lookup(&self, address: IpAddr) -> Result<Option<(u32, Option<&str>)>, maxminddb::MaxMindDbError> {
        match self {
            AutonomousSystems::Absent => Ok(None),
            AutonomousSystems::Table(table) => Ok(table.lookup(address)),
            AutonomousSystems::Files(files) => {
                for file in files {
                    if let Some(found) = file.autonomous_system(address)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Returns the record of the first file that has one; one file may be for IPv4 and another for IPv6.
fn first_place(files: &[MmdbFile], address: IpAddr) -> Result<PlaceRecord<'_>, maxminddb::MaxMindDbError> {
    for file in files {
        if let Some(place) = file.place(address)? {
            return Ok(place);
        }
    }
    Ok(PlaceRecord::default())
}

fn refuse_other_formats(file: &DataFile<'_>, name: DataSetName, accepted: Format) -> Result<()> {
    match file.format {
        Some(format) if format != accepted => Err(Error::Unfit {
            path: file.path.to_owned(),
            data_set: name.as_str(),
            reason: format!("format {format} does not fit"),
        }),
        _ => Ok(()),
    }
}
