//! The sampler: one session after the other, each with what must become of it.

use std::collections::BTreeMap;

use geodata::{DataSets, Position, distance_m};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use schemas::{Browser, Device as SessionDevice, Place, Session, TimeMs, key};

use super::error::{Result, SampleError};
use super::network::{Drawn, Networks, class_of};
use super::person::Person;
use super::place::{FAR_DISTANCE_M, Map, Spot, accuracy_m, fine_accuracy_m};
use super::random::Random;
use super::tables::{City, Device, HOME_COUNTRY, Neighbourhood, TABLES, speaks_portuguese};
use super::traits::{Code, Expected, Group, Shares, Trait};

/// How many sessions of a day arrive in each hour of it, relative to the mean, by the clock of Mexico City: nights are
/// quiet, and people open accounts around noon and in the evening.
const HOURLY_RATES: [f64; 24] = [
    0.35, 0.2, 0.12, 0.1, 0.1, 0.15, 0.35, 0.65, 0.95, 1.2, 1.4, 1.5, 1.55, 1.5, 1.4, 1.35, 1.35, 1.4, 1.5,
    1.6, 1.7, 1.6, 1.2, 0.78,
];
/// Mexico City is behind UTC by six hours the whole year.
const LOCAL_OFFSET_MS: i64 = -6 * HOUR_MS;
const HOUR_MS: i64 = 3_600_000;
/// The first and the last time that sessions can begin at: 1970-01-01 and 9000-01-01.
const START_MS: std::ops::RangeInclusive<TimeMs> = 0..=221_845_392_000_000;
/// 9999-12-31, the last day that RFC 3339 can write.
const TIME_MS_MAX: TimeMs = 253_402_214_400_000;
const RATE_PER_S: std::ops::RangeInclusive<f64> = 1e-3..=1e6;
/// How long after a session its second stage and its repetition come.
const STAGE_DELAY_MS: (i64, i64) = (4_000, 90_000);
const REPEAT_DELAY_MS: (i64, i64) = (200, 30_000);
/// Of those outside the country, how many live there.
const RESIDENT_SHARE: f64 = 0.5;
/// The stream of random numbers that times are drawn from; sessions have those from 1 on.
const ARRIVALS_STREAM: u64 = 0;

/// What is to be sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// How many sessions; one in stages, or that comes twice, counts once.
    pub count: u64,
    pub seed: u64,
    /// None leaves the tenant to the reader.
    pub tenant: Option<String>,
    /// Event time before the first session.
    pub start: TimeMs,
    /// How many sessions arrive a second, over a whole day.
    pub rate_per_s: f64,
    pub shares: Shares,
}

impl Default for SampleOptions {
    fn default() -> SampleOptions {
        SampleOptions {
            count: 10_000,
            seed: 1,
            tenant: None,
            // 2026-03-01T12:00:00Z: a fixed time, so that a seed says all.
            start: 1_772_366_400_000,
            rate_per_s: 2.0,
            shares: Shares::default(),
        }
    }
}

/// One record, and what must become of its session.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    pub session: Session,
    /// The verdict once the session is whole, the same for each of its records.
    pub expected: Expected,
    pub part: Part,
}

/// What a record is of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its first stage; another follows.
    FirstStage,
    /// Its last stage.
    LastStage,
    /// A record that has come before.
    Repeat,
}

impl Part {
    /// Returns whether the session is whole with this record, and was not before.
    pub fn completes(self) -> bool {
        matches!(self, Part::Whole | Part::LastStage)
    }
}

/// Samples sessions.
///
/// The same options and the same data give the same records. A session depends on the seed and its number alone, so
/// that fewer sessions are the beginning of more. What the data has nothing for is left out, and
/// [`Sampler::notices`] says so.
pub fn sample(options: SampleOptions, data: &DataSets) -> Result<Sampler<'_>> {
    Sampler::new(options, data)
}

/// The records of a sample in the order in which they arrive.
pub struct Sampler<'d> {
    options: SampleOptions,
    data: &'d DataSets,
    map: Map<'d>,
    networks: Networks,
    notices: Vec<String>,
    arrivals: Random,
    time: TimeMs,
    drawn_count: u64,
    /// The next new session.
    upcoming: Option<(TimeMs, Sampled)>,
    /// Records that come later, by time; the second number keeps those of one millisecond apart.
    pending: BTreeMap<(TimeMs, u64), Sampled>,
}

/// Where a session is set.
struct Setting {
    home: Spot,
    address: Position,
    location: Position,
    accuracy_m: Option<f64>,
    /// The city of the device, which says what networks and what time it has.
    city: &'static City,
    codes: Vec<Code>,
}

impl<'d> Sampler<'d> {
    fn new(mut options: SampleOptions, data: &'d DataSets) -> Result<Sampler<'d>> {
        check(&options)?;
        let asked = |wanted: Trait| options.shares.get(wanted) > 0.0;
        let mut countries = vec![HOME_COUNTRY];
        if asked(Trait::OutsideCountry) {
            countries.extend(TABLES.cities.iter().map(|city| city.country.as_str()));
        }
        countries.sort_unstable();
        countries.dedup();
        let classes = Trait::ALL.into_iter().filter(|wanted| class_of(*wanted).is_some() && asked(*wanted));
        let networks = Networks::new(data, countries, classes)?;
        // Without any networks of countries, people abroad have no address, as have those at home.
        let has_networks = networks.has_country(HOME_COUNTRY);
        let map = Map::new(&data.places, |country| !has_networks || networks.has_country(country))?;
        let notices = leave_out(&mut options.shares, &networks, &map);
        let arrivals = Random::new(options.seed, ARRIVALS_STREAM);
        Ok(Sampler {
            time: options.start,
            options,
            data,
            map,
            networks,
            notices,
            arrivals,
            drawn_count: 0,
            upcoming: None,
            pending: BTreeMap::new(),
        })
    }

    /// Returns what was asked for and cannot be, in sentences for people.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Returns the shares in use: those asked for, without those that the data has nothing for.
    pub fn shares(&self) -> &Shares {
        &self.options.shares
    }

    /// Moves on to the time of the next session.
    fn advance(&mut self) {
        let local_ms = self.time.saturating_add(LOCAL_OFFSET_MS);
        let hour = local_ms.div_euclid(HOUR_MS).rem_euclid(24) as usize;
        let mean_ms = 1_000.0 / (self.options.rate_per_s * HOURLY_RATES[hour]);
        let wait_ms = self.arrivals.exponential(mean_ms).round() as i64;
        self.time = self.time.saturating_add(wait_ms).min(TIME_MS_MAX);
    }

    /// Draws the next session, and keeps for later what comes of it later.
    fn draw(&mut self) -> (TimeMs, Sampled) {
        self.advance();
        self.drawn_count += 1;
        let mut random = Random::new(self.options.seed, self.drawn_count);
        let shares = &self.options.shares;
        let [network, place, delivery] = Group::ALL.map(|group| shares.draw(group, random.unit()));
        let setting = self.setting(place, &mut random);
        let drawn = self.address(network, &setting, &mut random);
        let expected = expected([network, place, delivery], &setting, drawn.as_ref());
        let session = self.session(&setting, place, drawn, &mut random);
        let (session, part) = match delivery {
            Some(Trait::MultiStage) => (self.split(session, &expected, &mut random), Part::FirstStage),
            Some(Trait::Repeat) => {
                let (least, most) = REPEAT_DELAY_MS;
                let again =
                    Sampled { session: session.clone(), expected: expected.clone(), part: Part::Repeat };
                self.keep(random.between(least, most), again);
                (session, Part::Whole)
            }
            _ => (session, Part::Whole),
        };
        (self.time, Sampled { session, expected, part })
    }

    fn setting(&self, place: Option<Trait>, random: &mut Random) -> Setting {
        match place {
            Some(Trait::FarApart) => {
                let home = self.map.home(random);
                let there = self.map.far_from(&home, random);
                self.travelling(home, there, random)
            }
            Some(Trait::OutsideCountry) => self.outside(random),
            Some(wanted @ (Trait::InPrison | Trait::NearPrison | Trait::MaybeNearPrison)) => {
                match self.map.at_prison(wanted, random) {
                    Some((location, home)) => self.in_custody(wanted, location, home, random),
                    None => self.at_home(self.map.home(random), random),
                }
            }
            _ => self.at_home(self.map.home(random), random),
        }
    }

    fn at_home(&self, home: Spot, random: &mut Random) -> Setting {
        let address = self.map.address(&home, random);
        let location = self.map.around(address, &home.city.country, random);
        Setting { home, address, location, accuracy_m: None, city: home.city, codes: Vec::new() }
    }

    fn travelling(&self, home: Spot, there: Spot, random: &mut Random) -> Setting {
        let address = self.map.address(&home, random);
        let location = self.map.address(&there, random);
        Setting { home, address, location, accuracy_m: None, city: there.city, codes: Vec::new() }
    }

    fn outside(&self, random: &mut Random) -> Setting {
        let is_resident = random.chance(RESIDENT_SHARE);
        let resident_at = if is_resident { self.map.abroad(true, random) } else { None };
        let mut setting = match (resident_at, self.map.abroad(false, random)) {
            (Some(home), _) => {
                let mut setting = self.at_home(home, random);
                setting.codes.push(Code::AddressOutsideCountry);
                setting
            }
            (None, Some(there)) => self.travelling(self.map.home(random), there, random),
            // The share is 0 where there is no city abroad.
            (None, None) => return self.at_home(self.map.home(random), random),
        };
        setting.codes.push(Code::LocationOutsideCountry);
        setting
    }

    fn in_custody(&self, wanted: Trait, location: Position, home: Spot, random: &mut Random) -> Setting {
        let code = match wanted {
            Trait::InPrison => Code::LocationInsidePrison,
            Trait::NearPrison => Code::LocationNearPrison,
            _ => Code::LocationNearPrisonUncertain,
        };
        let address = self.map.address(&home, random);
        let accuracy_m = Some(fine_accuracy_m(random));
        Setting { home, address, location, accuracy_m, city: home.city, codes: vec![code] }
    }

    fn address(&self, network: Option<Trait>, setting: &Setting, random: &mut Random) -> Option<Drawn> {
        match network {
            Some(Trait::NoIp) => None,
            Some(listed) => self.networks.of_class(listed, &self.data.ip, random),
            None => self.networks.of_country(&setting.city.country, &self.data.ip, random),
        }
    }

    fn session(
        &self,
        setting: &Setting,
        place: Option<Trait>,
        ip: Option<Drawn>,
        random: &mut Random,
    ) -> Session {
        let device = TABLES.devices.pick(random);
        let person = Person::draw(setting.home.city, date_of(self.time), random);
        let version = random.pick(&device.versions);
        let is_app = device.category == "mobile" && random.chance(0.6);
        let language = if speaks_portuguese(&setting.home.city.country) { "pt" } else { "es" };
        let flow = if random.chance(0.85) { "signup" } else { "loan_application" };
        let has_location = place != Some(Trait::NoLocation);
        Session {
            tenant: self.options.tenant.clone(),
            session_id: identifier(random),
            account_id: Some(format!("acc-{:016x}", random.next_u64())),
            request_id: Some(identifier(random)),
            event_time: Some(self.time),
            user_authorized: Some(true),
            country: Some(HOME_COUNTRY.to_owned()),
            language: Some(language.to_owned()),
            flow: Some(flow.to_owned()),
            channel: Some(if is_app { "app" } else { "web" }.to_owned()),
            complete: Some(true),
            ip: ip.map(|drawn| drawn.address.to_string()),
            user_agent: Some(device.user_agent.replace("{version}", version)),
            browser: Some(browser(device, version, language, setting)),
            device: Some(session_device(device, random)),
            location: has_location.then(|| location(setting, device, random)),
            address: Some(address(setting, place != Some(Trait::AddressAsText), random)),
            name: Some(person.name),
            date_of_birth: Some(person.born_on.to_string()),
            gender: Some(person.gender),
            curp: person.curp,
            rfc: person.rfc,
            email: Some(person.email),
            phone_number: person.phone_number,
            document: Some(person.document),
            ..Session::default()
        }
    }

    /// Takes from a session what its second stage brings, and keeps that for later.
    fn split(&mut self, session: Session, expected: &Expected, random: &mut Random) -> Session {
        let (least, most) = STAGE_DELAY_MS;
        let delay_ms = random.between(least, most);
        let second = Session {
            tenant: session.tenant.clone(),
            session_id: session.session_id.clone(),
            request_id: Some(identifier(random)),
            event_time: Some(self.time + delay_ms),
            complete: Some(true),
            location: session.location.clone(),
            document: session.document.clone(),
            ..Session::default()
        };
        self.keep(delay_ms, Sampled { session: second, expected: expected.clone(), part: Part::LastStage });
        Session { complete: Some(false), location: None, document: None, ..session }
    }

    fn keep(&mut self, delay_ms: i64, sampled: Sampled) {
        self.pending.insert((self.time + delay_ms, self.drawn_count), sampled);
    }
}

impl Iterator for Sampler<'_> {
    type Item = Sampled;

    fn next(&mut self) -> Option<Sampled> {
        if self.upcoming.is_none() && self.drawn_count < self.options.count {
            self.upcoming = Some(self.draw());
        }
        let Some((time, upcoming)) = self.upcoming.take() else {
            return self.pending.pop_first().map(|(_, sampled)| sampled);
        };
        match self.pending.first_entry() {
            Some(first) if first.key().0 < time => {
                self.upcoming = Some((time, upcoming));
                Some(first.remove())
            }
            _ => Some(upcoming),
        }
    }
}

fn check(options: &SampleOptions) -> Result<()> {
    options.shares.check()?;
    if !RATE_PER_S.contains(&options.rate_per_s) {
        return Err(SampleError::Rate { rate_per_s: options.rate_per_s });
    }
    if !START_MS.contains(&options.start) {
        return Err(SampleError::Start { time_ms: options.start });
    }
    let is_tenant =
        |id: &String| !id.is_empty() && id.len() <= key::ID_BYTES_MAX && !id.chars().any(char::is_control);
    match options.tenant.as_ref().filter(|tenant| !is_tenant(tenant)) {
        Some(tenant) => Err(SampleError::Tenant { tenant: tenant.clone() }),
        None => Ok(()),
    }
}

/// Sets the shares of what the data has nothing for to 0, and says so.
fn leave_out(shares: &mut Shares, networks: &Networks, map: &Map<'_>) -> Vec<String> {
    let mut notices = Vec::new();
    if !networks.has_country(HOME_COUNTRY) {
        notices.push(format!(
            "no address of {HOME_COUNTRY} is known, so sessions have one only where a list names it; install ip.country"
        ));
    }
    let asked = *shares;
    for wanted in Trait::ALL.into_iter().filter(|wanted| asked.get(*wanted) > 0.0) {
        let missing = match (class_of(wanted), wanted) {
            (Some(class), _) if !networks.has_class(wanted) => {
                format!("{} has no address for it", class.data_set())
            }
            (_, Trait::InPrison) if !map.has_prison(wanted) => {
                format!("places.prisons has no outline in {HOME_COUNTRY}")
            }
            (_, Trait::NearPrison) if !map.has_prison(wanted) => {
                format!("places.prisons has neither an outline nor an accurate point in {HOME_COUNTRY}")
            }
            (_, Trait::MaybeNearPrison) if !map.has_prison(wanted) => {
                format!("places.prisons has no coarse point in {HOME_COUNTRY}")
            }
            (_, Trait::OutsideCountry) if !map.has_abroad() => "no network abroad is known".to_owned(),
            _ => continue,
        };
        notices.push(format!("no session is {wanted}: {missing}"));
        *shares = shares.with(wanted, 0.0);
    }
    notices
}

fn expected(traits: [Option<Trait>; 3], setting: &Setting, ip: Option<&Drawn>) -> Expected {
    let mut codes = setting.codes.clone();
    let place = traits[1];
    let has_location = place != Some(Trait::NoLocation);
    if let Some(drawn) = ip {
        codes.extend(&drawn.codes);
        let is_elsewhere =
            drawn.country_code.as_ref().is_some_and(|country| *country != setting.city.country);
        if is_elsewhere && has_location {
            codes.push(Code::IpCountryLocationMismatch);
        }
    }
    let has_both = has_location && place != Some(Trait::AddressAsText);
    // Ordinary sessions are near their addresses by the way they are drawn.
    if place.is_some() && has_both && distance_m(setting.address, setting.location) > FAR_DISTANCE_M {
        codes.push(Code::AddressLocationDistance);
    }
    Expected::new(traits.into_iter().flatten().collect(), codes)
}

fn browser(device: &Device, version: &str, language: &str, setting: &Setting) -> Browser {
    Browser {
        r#type: Some(device.browser.clone()),
        version: Some(version.to_owned()),
        language: Some(format!("{language}-{}", setting.home.city.country)),
        timezone: Some(setting.city.time_zone.clone()),
    }
}

fn session_device(device: &Device, random: &mut Random) -> SessionDevice {
    SessionDevice {
        id: Some(format!("dev-{:016x}", random.next_u64())),
        fingerprint: Some(format!("{:016x}{:016x}", random.next_u64(), random.next_u64())),
        category: Some(device.category.clone()),
        r#type: Some(device.kind.clone()),
        model: device.model.clone(),
        os: Some(device.os.clone()),
        cpu_cores: Some(device.cpu_cores),
        memory_gb: device.memory_gb,
        gpu: Some(device.gpu.clone()),
    }
}

fn location(setting: &Setting, device: &Device, random: &mut Random) -> Place {
    let drawn_m = accuracy_m(device.category != "desktop", random);
    Place {
        lat: Some(setting.location.latitude()),
        lng: Some(setting.location.longitude()),
        accuracy_m: Some(setting.accuracy_m.unwrap_or(drawn_m)),
        ..Place::default()
    }
}

fn address(setting: &Setting, has_coordinates: bool, random: &mut Random) -> Place {
    let Spot { city, neighbourhood, .. } = setting.home;
    let street = format!("{} {}", random.pick(TABLES.streets(&city.country)), random.between(1, 2_400));
    let municipality = neighbourhood.map_or(&city.name, |found| &found.municipality);
    let text = match neighbourhood {
        Some(Neighbourhood { name, postal_code, .. }) => {
            format!("{street}, Col. {name}, {postal_code} {municipality}, {}, México", city.state)
        }
        None => format!("{street}, {}, {}", city.name, city.state),
    };
    Place {
        lat: has_coordinates.then_some(setting.address.latitude()),
        lng: has_coordinates.then_some(setting.address.longitude()),
        text: Some(text),
        street: Some(street),
        colonia: neighbourhood.map(|found| found.name.clone()),
        postal_code: neighbourhood.map(|found| found.postal_code.clone()),
        municipality: Some(municipality.clone()),
        state: Some(city.state.clone()),
        country: Some(city.country.clone()),
        ..Place::default()
    }
}

/// Returns a random UUID, version 4.
fn identifier(random: &mut Random) -> String {
    let (high, low) = (random.next_u64(), random.next_u64());
    let variant = 0x8000 | (low >> 48 & 0x3fff);
    format!(
        "{:08x}-{:04x}-4{:03x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

fn date_of(time: TimeMs) -> Date {
    let timestamp = Timestamp::from_millisecond(time).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(timestamp).date()
}
