//! The RFC, Mexico's taxpayer key, of a natural person, with the homonym key and the check digit that the tax
//! administration (SAT) computes for the first person of a name and a birth date.

use jiff::civil::Date;

use super::letters::{given_word, is_vowel, surname_word, upper};

/// Words whose last letter becomes X.
const INCONVENIENT_WORDS: &str = "\
BUEI BUEY CACA CACO CAGA CAGO CAKA CAKO COGE COJA COJE COJI COJO CULO FETO GUEY JOTO KACA KACO KAGA KAGO KAKA KOGE \
KOJO KULO LOCA LOCO LOKA LOKO MAME MAMO MEAR MEAS MEON MION MOCO MULA PEDA PEDO PENE PUTA PUTO QULO RATA RUIN";
/// The characters of the homonym key by quotient and remainder; O and 0 are left out, since they look alike.
const HOMONYM_ALPHABET: &[u8; 34] = b"123456789ABCDEFGHIJKLMNPQRSTUVWXYZ";
/// The value of a character in the check digit is its place here.
const CHECK_ALPHABET: &str = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ Ñ";

/// Returns the RFC of thirteen characters.
pub(super) fn rfc(given_names: &str, paternal: &str, maternal: Option<&str>, born_on: Date) -> String {
    let (given, paternal) = (upper(given_names), upper(paternal));
    let maternal = maternal.map(upper);
    let mut key =
        initials(given_word(&given), surname_word(&paternal), maternal.as_deref().map(surname_word));
    key.push_str(&format!("{:02}{:02}{:02}", born_on.year() % 100, born_on.month(), born_on.day()));
    let names = [Some(paternal.as_str()), maternal.as_deref(), Some(given.as_str())];
    let full: Vec<&str> = names.into_iter().flatten().collect();
    key.extend(homonym_key(&full.join(" ")));
    key.push(check_digit(&key));
    key
}

/// Returns the digit that the first twelve characters ask for.
pub(super) fn check_digit(key: &str) -> char {
    let value = |letter| CHECK_ALPHABET.chars().position(|known| known == letter).unwrap_or_default();
    let sum: usize = key.chars().zip((2..=13).rev()).map(|(letter, weight)| value(letter) * weight).sum();
    match sum % 11 {
        0 => '0',
        1 => 'A',
        rest => char::from(b'0' + (11 - rest) as u8),
    }
}

fn initials(given: &str, paternal: &str, maternal: Option<&str>) -> String {
    let first = |word: &str, count| word.chars().take(count).collect::<String>();
    let inner_vowel = paternal.chars().skip(1).find(|letter| is_vowel(*letter));
    let word = match (maternal, inner_vowel) {
        // With one surname both take two letters, and so does the given name where the surname is too short.
        (None, _) => first(paternal, 2) + &first(given, 2),
        (Some(maternal), _) if paternal.chars().count() <= 2 => {
            first(paternal, 1) + &first(maternal, 1) + &first(given, 2)
        }
        (Some(maternal), vowel) => {
            let vowel = vowel.unwrap_or('X');
            format!("{}{vowel}{}{}", first(paternal, 1), first(maternal, 1), first(given, 1))
        }
    };
    if INCONVENIENT_WORDS.split(' ').any(|inconvenient| inconvenient == word) {
        return first(&word, 3) + "X";
    }
    word
}

/// Returns the two characters that tell apart people with the same initials: a checksum of the full name.
fn homonym_key(full_name: &str) -> [char; 2] {
    // Each letter has two digits; every pair of neighbouring digits is multiplied by its second one.
    let mut digits = vec![0];
    digits.extend(full_name.chars().flat_map(|letter| {
        let value = homonym_value(letter);
        [value / 10, value % 10]
    }));
    let sum: u32 = digits.windows(2).map(|pair| (pair[0] * 10 + pair[1]) * pair[1]).sum();
    let rest = sum % 1_000;
    [rest / 34, rest % 34].map(|place| char::from(HOMONYM_ALPHABET[place as usize]))
}

fn homonym_value(letter: char) -> u32 {
    let code = u32::from(letter);
    match letter {
        'A'..='I' => code - u32::from('A') + 11,
        'J'..='R' => code - u32::from('J') + 21,
        'S'..='Z' => code - u32::from('S') + 32,
        'Ñ' => 40,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_worked_example_of_the_tax_administration() {
        assert_eq!(rfc("Emma", "Gómez", Some("Díaz"), date(1956, 12, 31)), "GODE561231GR8");
    }

    #[test]
    fn homonym_keys_of_known_names() {
        let check = |full_name: &str, expected: &str| {
            assert_eq!(homonym_key(full_name).iter().collect::<String>(), expected, "{full_name}");
        };
        check("PEREZ GARCIA JUAN", "LN");
        check("DEL REAL ANZURES JOSE ANTONIO", "N9");
        check("MUÑOZ ORTEGA JUAN", "T6");
        check("ARGUELLES ORTEGA JESUS", "JF");
    }

    #[test]
    fn initials_follow_the_rules_of_the_key() {
        let check = |given: &str, paternal: &str, maternal: Option<&str>, expected: &str| {
            assert_eq!(&rfc(given, paternal, maternal, date(1970, 12, 13))[..10], expected);
        };
        check("Juan", "Barrios", Some("Fernández"), "BAFJ701213");
        check("Álvaro", "de la O", Some("Lozano"), "OLAL701213");
        check("Ernesto", "Ek", Some("Rivera"), "ERER701213");
        check("Luz María", "Fernández", Some("Juárez"), "FEJL701213");
        check("José Antonio", "Camargo", Some("Hernández"), "CAHA701213");
        check("Antonio", "Jiménez", Some("Ponce de León"), "JIPA701213");
        check("Gerarda", "Zafra", None, "ZAGE701213");
        check("Ingrid", "Bueno", Some("Ezquerra"), "BUEX701213");
        check("Marco Antonio", "Cano", Some("Barraza"), "CABM701213");
    }
}
