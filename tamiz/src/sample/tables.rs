//! What sessions are made of: names, streets, cities, neighbourhoods and devices, from the files beside this one.

use std::sync::LazyLock;

use geodata::Position;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::random::Weighted;

/// The country in which most people live, and whose rules about places apply to them.
pub(super) const HOME_COUNTRY: &str = "MX";
/// How fast names become rarer down the list: the weight of one is this, divided by its place after an offset.
const NAME_WEIGHT: u64 = 1_000_000;
const NAME_PLACE_OFFSET: u64 = 8;

/// The code of those born abroad in a CURP, and how many of a thousand they are.
const BORN_ABROAD: (&str, u64) = ("NE", 8);

/// The tables, read once.
pub(super) static TABLES: LazyLock<Tables> = LazyLock::new(Tables::read);

pub(super) struct Tables {
    pub spanish: Names,
    pub portuguese: Names,
    pub streets: Streets,
    pub devices: Weighted<Device>,
    pub mail_domains: Weighted<&'static str>,
    /// The codes of the states in which people are born, as a CURP has them.
    pub birth_states: Weighted<String>,
    /// All cities, home first.
    pub cities: Vec<City>,
}

pub(super) struct Names {
    pub female: Weighted<String>,
    pub male: Weighted<String>,
    pub surnames: Weighted<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Streets {
    pub spanish: Vec<String>,
    pub abroad: Vec<String>,
    pub portuguese: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    weight: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub category: String,
    pub model: Option<String>,
    pub os: String,
    pub cpu_cores: i32,
    pub memory_gb: Option<f64>,
    pub gpu: String,
    pub browser: String,
    pub versions: Vec<String>,
    pub user_agent: String,
}

pub(super) struct City {
    pub name: String,
    pub state: String,
    /// The state's code in a CURP; none abroad.
    pub curp_state: Option<String>,
    pub country: String,
    pub centre: Position,
    pub population: u64,
    pub time_zone: String,
    /// None where nobody is sampled as living, but only as travelling.
    pub phone: Option<String>,
    pub neighbourhoods: Vec<Neighbourhood>,
}

pub(super) struct Neighbourhood {
    pub postal_code: String,
    pub name: String,
    pub municipality: String,
    pub centre: Position,
}

impl City {
    pub(super) fn is_home(&self) -> bool {
        self.country == HOME_COUNTRY
    }
}

#[derive(Deserialize)]
struct NamesFile {
    spanish: NameLists,
    portuguese: NameLists,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameLists {
    female: Vec<String>,
    male: Vec<String>,
    surnames: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DevicesFile {
    device: Vec<Device>,
}

#[derive(Deserialize)]
struct CityRow {
    name: String,
    state: String,
    curp_state: Option<String>,
    country: String,
    lat: f64,
    lng: f64,
    population: u64,
    time_zone: String,
    phone: Option<String>,
}

#[derive(Deserialize)]
struct NeighbourhoodRow {
    city: String,
    postal_code: String,
    name: String,
    municipality: String,
    lat: f64,
    lng: f64,
}

impl Tables {
    fn read() -> Tables {
        let names: NamesFile = from_toml(include_str!("names.toml"));
        let devices: DevicesFile = from_toml(include_str!("devices.toml"));
        let mail_domains = [
            ("gmail.com", 62),
            ("hotmail.com", 16),
            ("outlook.com", 9),
            ("yahoo.com.mx", 6),
            ("icloud.com", 5),
            ("prodigy.net.mx", 2),
        ];
        let cities = cities();
        Tables {
            birth_states: birth_states(&cities),
            spanish: Names::new(names.spanish),
            portuguese: Names::new(names.portuguese),
            streets: from_toml(include_str!("streets.toml")),
            devices: weighted(devices.device.into_iter().map(|device| {
                let weight = device.weight;
                (device, weight)
            })),
            mail_domains: weighted(mail_domains),
            cities,
        }
    }

    /// Returns the names that are usual in a country.
    pub(super) fn names(&self, country: &str) -> &Names {
        if speaks_portuguese(country) { &self.portuguese } else { &self.spanish }
    }

    /// Returns the streets that are usual in a country.
    pub(super) fn streets(&self, country: &str) -> &[String] {
        match country {
            HOME_COUNTRY => &self.streets.spanish,
            country if speaks_portuguese(country) => &self.streets.portuguese,
            _ => &self.streets.abroad,
        }
    }
}

/// Returns whether people there have Portuguese names, the mother's surname before the father's.
pub(super) fn speaks_portuguese(country: &str) -> bool {
    country == "BR"
}

impl Names {
    fn new(lists: NameLists) -> Names {
        let ranked = |names: Vec<String>| {
            weighted((NAME_PLACE_OFFSET..).zip(names).map(|(place, name)| (name, NAME_WEIGHT / place)))
        };
        Names { female: ranked(lists.female), male: ranked(lists.male), surnames: ranked(lists.surnames) }
    }
}

fn birth_states(cities: &[City]) -> Weighted<String> {
    let home = cities.iter().filter_map(|city| Some((city.curp_state.clone()?, city.population)));
    let population: u64 = home.clone().map(|(_, population)| population).sum();
    let (abroad, share) = BORN_ABROAD;
    weighted(home.chain([(abroad.to_owned(), population * share / 1_000)]))
}

fn cities() -> Vec<City> {
    let mut neighbourhoods: Vec<NeighbourhoodRow> = from_csv(include_str!("neighbourhoods.csv"));
    let mut cities = Vec::new();
    for row in from_csv::<CityRow>(include_str!("cities.csv")) {
        let is_home = row.country == HOME_COUNTRY;
        let (own, others) =
            neighbourhoods.into_iter().partition(|neighbourhood| is_home && neighbourhood.city == row.name);
        neighbourhoods = others;
        let own: Vec<NeighbourhoodRow> = own;
        cities.push(City {
            name: row.name,
            state: row.state,
            curp_state: row.curp_state,
            country: row.country,
            centre: position(row.lat, row.lng),
            population: row.population,
            time_zone: row.time_zone,
            phone: row.phone,
            neighbourhoods: own.into_iter().map(neighbourhood).collect(),
        });
    }
    assert!(neighbourhoods.is_empty(), "every neighbourhood is of a city in the table");
    cities
}

fn neighbourhood(row: NeighbourhoodRow) -> Neighbourhood {
    Neighbourhood {
        postal_code: row.postal_code,
        name: row.name,
        municipality: row.municipality,
        centre: position(row.lat, row.lng),
    }
}

fn position(latitude: f64, longitude: f64) -> Position {
    // The files are compiled in, and a test reads them all.
    Position::new(latitude, longitude).expect("the tables hold positions only")
}

fn weighted<T>(items: impl IntoIterator<Item = (T, u64)>) -> Weighted<T> {
    // As above.
    Weighted::new(items).expect("the tables have weights")
}

fn from_toml<T: DeserializeOwned>(text: &str) -> T {
    // As above.
    toml::from_str(text).expect("the tables are valid TOML")
}

fn from_csv<T: DeserializeOwned>(text: &str) -> Vec<T> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    // As above.
    reader.deserialize().map(|row| row.expect("the tables are valid CSV")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use geodata::Places;

    use super::*;
    use crate::sample::letters::upper;

    #[test]
    fn cities_are_where_the_table_says() {
        let places = Places::without_prisons().expect("the boundaries are compiled in");
        for city in &TABLES.cities {
            assert_eq!(places.country(city.centre), Some(city.country.as_str()), "{}", city.name);
            for neighbourhood in &city.neighbourhoods {
                let away_m = geodata::distance_m(city.centre, neighbourhood.centre);
                assert!(away_m < 25_000.0, "{} of {} is {away_m} m away", neighbourhood.name, city.name);
                assert_eq!(neighbourhood.postal_code.len(), 5, "{}", neighbourhood.name);
            }
            assert_eq!(city.is_home(), !city.neighbourhoods.is_empty(), "{}", city.name);
            assert_eq!(city.is_home(), city.curp_state.is_some(), "{}", city.name);
        }
        let home = TABLES.cities.iter().filter(|city| city.is_home());
        let states: BTreeSet<&str> = home.filter_map(|city| city.curp_state.as_deref()).collect();
        assert_eq!(states.len(), 32, "every state of Mexico has a city");
    }

    #[test]
    fn keys_can_be_made_of_every_name() {
        for names in [&TABLES.spanish, &TABLES.portuguese] {
            let lists = [&names.female, &names.male, &names.surnames];
            for list in lists {
                let unique: BTreeSet<&String> = list.items().iter().collect();
                assert_eq!(unique.len(), list.items().len());
                for name in list.items() {
                    let is_plain =
                        |letter: char| letter.is_ascii_uppercase() || letter == 'Ñ' || letter == ' ';
                    assert!(upper(name).chars().all(is_plain), "{name}");
                }
            }
        }
    }

    #[test]
    fn phones_are_as_long_as_the_numbering_plan_wants() {
        let length = |country: &str| match country {
            "MX" => 13,
            "GT" | "SV" | "HN" | "CR" | "PA" => 12,
            "DO" | "PE" | "CL" | "BO" | "UY" => 12,
            "CO" | "EC" => 13,
            "AR" | "BR" => 14,
            other => panic!("no numbering plan for {other}"),
        };
        for city in &TABLES.cities {
            let Some(phone) = &city.phone else { continue };
            assert!(phone.starts_with('+'), "{phone}");
            assert_eq!(phone.len(), length(&city.country), "{} {phone}", city.name);
        }
    }

    #[test]
    fn user_agents_fit_their_devices() {
        for device in TABLES.devices.items() {
            let mark = match device.os.split(' ').next() {
                Some("Android") => "Linux; Android",
                Some("iOS") => "iPhone OS",
                Some("iPadOS") => "iPad; CPU OS",
                Some("Windows") => "Windows NT",
                _ => "Mac OS X",
            };
            assert!(device.user_agent.contains(mark), "{}", device.user_agent);
            assert!(device.user_agent.contains("{version}"), "{}", device.user_agent);
            assert!(!device.versions.is_empty());
            let is_mobile = device.user_agent.contains("Mobile");
            assert_eq!(is_mobile, device.category != "desktop", "{}", device.user_agent);
        }
    }
}
