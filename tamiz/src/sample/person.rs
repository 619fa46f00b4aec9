//! A person: name, birth date, keys, document, phone and mail.

use jiff::ToSpan;
use jiff::civil::Date;
use schemas::{Document, Gender, Name};

use super::curp::{CurpSource, curp};
use super::letters::ascii_lower;
use super::random::Random;
use super::rfc::rfc;
use super::tables::{City, TABLES, speaks_portuguese};

const AGE_DAYS_MIN: f64 = 18.1 * 365.25;
const AGE_DAYS_SPREAD: f64 = 62.0 * 365.25;
/// How often somebody was born in the state in which they live.
const BORN_IN_STATE_SHARE: f64 = 0.75;
/// How often somebody has one surname only.
const ONE_SURNAME_SHARE: f64 = 0.01;
/// How often keys are already taken by a person with the same name and birth date.
const HOMONYM_SHARE: f64 = 0.02;
/// How often a Mexican shows a passport, not a voting card.
const PASSPORT_SHARE: f64 = 0.12;
const RFC_SHARE: f64 = 0.6;
const DOCUMENT_YEARS: i64 = 10;

/// What a person says of themselves.
pub(super) struct Person {
    pub name: Name,
    pub born_on: Date,
    pub gender: Gender,
    pub curp: Option<String>,
    pub rfc: Option<String>,
    pub email: String,
    pub phone_number: Option<String>,
    pub document: Document,
}

impl Person {
    /// Draws a person who lives in a city on a day.
    pub(super) fn draw(city: &City, today: Date, random: &mut Random) -> Person {
        let gender = if random.chance(0.5) { Gender::Female } else { Gender::Male };
        let names = TABLES.names(&city.country);
        let given_names = if gender == Gender::Female { &names.female } else { &names.male };
        let given_names = given_names.pick(random).as_str();
        let paternal = names.surnames.pick(random).as_str();
        let maternal = names.surnames.pick(random).as_str();
        let maternal = (!random.chance(ONE_SURNAME_SHARE)).then_some(maternal);
        let born_on = birth_date(today, random);
        let email = email(given_names, paternal, born_on, random);
        let phone_number = city.phone.as_deref().map(|pattern| digits(pattern, random));
        let document = document(city, today, random);
        let (curp, rfc) = match &city.curp_state {
            Some(state) => {
                let curp = mexican_key((given_names, paternal, maternal), born_on, gender, state, random);
                let has_rfc = random.chance(RFC_SHARE);
                (Some(curp), has_rfc.then(|| rfc(given_names, paternal, maternal, born_on)))
            }
            None => (None, None),
        };
        let name = full_name(given_names, paternal, maternal, &city.country);
        Person { name, born_on, gender, curp, rfc, email, phone_number, document }
    }
}

fn full_name(given_names: &str, paternal: &str, maternal: Option<&str>, country: &str) -> Name {
    let maternal_text = maternal.unwrap_or_default();
    let full = match maternal {
        None => format!("{given_names} {paternal}"),
        Some(_) if speaks_portuguese(country) => format!("{given_names} {maternal_text} {paternal}"),
        Some(_) => format!("{given_names} {paternal} {maternal_text}"),
    };
    Name {
        full: Some(full),
        given_names: Some(given_names.to_owned()),
        paternal_surname: Some(paternal.to_owned()),
        maternal_surname: maternal.map(str::to_owned),
    }
}

/// Draws a birth date; most people who open accounts are young.
fn birth_date(today: Date, random: &mut Random) -> Date {
    let share = random.unit();
    before(today, AGE_DAYS_MIN + AGE_DAYS_SPREAD * share * share)
}

fn before(day: Date, days: f64) -> Date {
    // Options keep today within the calendar, and nobody is older than a century.
    day.saturating_sub((days as i64).days())
}

fn mexican_key(
    (given_names, paternal_surname, maternal_surname): (&str, &str, Option<&str>),
    born_on: Date,
    gender: Gender,
    state: &str,
    random: &mut Random,
) -> String {
    let state = match random.chance(BORN_IN_STATE_SHARE) {
        true => state,
        false => TABLES.birth_states.pick(random),
    };
    let sex = if gender == Gender::Female { 'M' } else { 'H' };
    let homonym = u8::from(random.chance(HOMONYM_SHARE));
    curp(&CurpSource { given_names, paternal_surname, maternal_surname, born_on, sex, state, homonym })
}

fn email(given_names: &str, paternal: &str, born_on: Date, random: &mut Random) -> String {
    let first = ascii_lower(given_names.split(' ').next().unwrap_or(given_names));
    let last = ascii_lower(paternal);
    let year = born_on.year() % 100;
    let local = match random.below(6) {
        0 => format!("{first}.{last}"),
        1 => format!("{first}.{last}{year:02}"),
        2 => format!("{first}_{last}{}", random.between(1, 999)),
        3 => format!("{}{last}{year:02}", &first[..1]),
        4 => format!("{last}.{first}{}", random.between(1, 99)),
        _ => format!("{first}{last}{}", born_on.year()),
    };
    format!("{local}@{}", TABLES.mail_domains.pick(random))
}

/// Fills a pattern: `#` is any digit, and `*` one that a number can begin with.
fn digits(pattern: &str, random: &mut Random) -> String {
    let fill = |mark| match mark {
        '#' => char::from(b'0' + random.below(10) as u8),
        '*' => char::from(b'2' + random.below(7) as u8),
        mark => mark,
    };
    pattern.chars().map(fill).collect()
}

fn document(city: &City, today: Date, random: &mut Random) -> Document {
    let issued_on = before(today, 30.0 + random.unit() * 9.0 * 365.0);
    let is_passport = random.chance(PASSPORT_SHARE);
    let (kind, number) = match (is_passport, city.is_home()) {
        // The nine digits under the bars of a voting card, and the letter and eight digits of a passport.
        (false, true) => ("id_card", digits("*########", random)),
        (true, true) => {
            ("passport", format!("{}{}", random.pick(&['G', 'L', 'N']), digits("########", random)))
        }
        (false, false) => ("id_card", digits("*#########", random)),
        (true, false) => ("passport", digits("A*#######", random)),
    };
    Document {
        r#type: Some(kind.to_owned()),
        country: Some(city.country.clone()),
        number: Some(number),
        date_of_issue: Some(issued_on.to_string()),
        date_of_expiration: Some(issued_on.saturating_add(DOCUMENT_YEARS.years()).to_string()),
        ..Document::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::date;

    use super::*;
    use crate::sample::{curp, rfc};

    #[test]
    fn people_are_of_age_and_their_keys_agree_with_them() {
        let today = date(2026, 3, 1);
        let mut random = Random::new(3, 0);
        let mut homonyms = 0;
        for turn in 0..5_000 {
            let city = &TABLES.cities[turn % TABLES.cities.len()];
            if city.phone.is_none() {
                continue;
            }
            let person = Person::draw(city, today, &mut random);
            assert!(person.born_on <= date(2008, 3, 1), "{}", person.born_on);
            assert!(person.born_on >= date(1945, 1, 1), "{}", person.born_on);
            let (local, domain) = person.email.split_once('@').unwrap();
            assert!(local.is_ascii() && domain.contains('.'), "{}", person.email);
            assert!(person.phone_number.unwrap().bytes().skip(1).all(|digit| digit.is_ascii_digit()));
            let document = person.document;
            assert!(document.date_of_issue < document.date_of_expiration);
            assert_eq!(person.curp.is_some(), city.is_home());
            let Some(key) = person.curp else { continue };
            assert_eq!(key.len(), 18, "{key}");
            let born_on = person.born_on.strftime("%y%m%d").to_string();
            assert_eq!(key[4..10], born_on);
            assert_eq!(&key[10..11], if person.gender == Gender::Female { "M" } else { "H" });
            assert!(
                key[..16].bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
                "{key}"
            );
            assert_eq!(
                key[16..17].starts_with(|mark: char| mark.is_ascii_digit()),
                person.born_on.year() < 2000
            );
            assert_eq!(key.chars().last(), Some(curp::check_digit(&key[..17])));
            homonyms += usize::from(matches!(&key[16..17], "1" | "B"));
            let Some(tax_key) = person.rfc else { continue };
            assert_eq!(tax_key.chars().count(), 13, "{tax_key}");
            assert_eq!(tax_key[4..10], born_on, "{tax_key}");
            assert_eq!(tax_key.chars().last(), Some(rfc::check_digit(&tax_key[..12])));
        }
        assert!((20..120).contains(&homonyms), "{homonyms}");
    }
}
