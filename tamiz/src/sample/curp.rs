//! The CURP, Mexico's key of the population registry, from a person's data (RENAPO, *Instructivo normativo para la
//! asignación de la CURP*, 2021).

use jiff::civil::Date;

use super::letters::{given_word, is_vowel, surname_word, upper};

/// Four letters that would make a word nobody wants in a key: annex 2 of the instructions.
const INCONVENIENT_WORDS: &str = "\
BACA BAKA BUEI BUEY CACA CACO CAGA CAGO CAKA CAKO COGE COGI COJA COJE COJI COJO COLA CULO FALO FETO GETA GUEI GUEY \
JETA JOTO KACA KACO KAGA KAGO KAKA KAKO KOGE KOGI KOJA KOJE KOJI KOJO KOLA KULO LILO LOCA LOCO LOKA LOKO MAME MAMO \
MEAR MEAS MEON MIAR MION MOCO MOKO MULA MULO NACA NACO PEDA PEDO PENE PIPI PITO POPO PUTA PUTO QULO RATA ROBA ROBE \
ROBO RUIN SENO TETA VACA VAGA VAGO VAKA VUEI VUEY WUEI WUEY";
/// The value of a character in the check digit is its place here.
const CHECK_ALPHABET: &str = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ";

/// What a CURP is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct CurpSource<'a> {
    pub given_names: &'a str,
    pub paternal_surname: &'a str,
    pub maternal_surname: Option<&'a str>,
    pub born_on: Date,
    /// `H` (hombre), `M` (mujer) or `X`.
    pub sex: char,
    /// The two letters of the state of birth, `NE` abroad.
    pub state: &'a str,
    /// Tells apart people whose first sixteen characters are the same: the how manieth this one is, from 0.
    pub homonym: u8,
}

/// Returns the CURP of eighteen characters.
pub(super) fn curp(source: &CurpSource<'_>) -> String {
    let (paternal, maternal) =
        (upper(source.paternal_surname), upper(source.maternal_surname.unwrap_or_default()));
    let given = upper(source.given_names);
    let words = [surname_word(&paternal), surname_word(&maternal), given_word(&given)];
    let date = source.born_on;
    // Who was born from 2000 on has a letter there, which tells the century.
    let homonym = char::from(if date.year() < 2000 { b'0' } else { b'A' } + source.homonym);
    let mut key = initials(words);
    key.push_str(&format!("{:02}{:02}{:02}", date.year() % 100, date.month(), date.day()));
    key.push(source.sex);
    key.push_str(source.state);
    key.extend(words.map(inner_consonant));
    key.push(homonym);
    key.push(check_digit(&key));
    key
}

/// Returns the digit that the first seventeen characters ask for.
pub(super) fn check_digit(key: &str) -> char {
    let value = |letter| CHECK_ALPHABET.chars().position(|known| known == letter).unwrap_or_default();
    let sum: usize = key.chars().zip((2..=18).rev()).map(|(letter, weight)| value(letter) * weight).sum();
    char::from(b'0' + ((10 - sum % 10) % 10) as u8)
}

fn initials([paternal, maternal, given]: [&str; 3]) -> String {
    let inner_vowel = paternal.chars().skip(1).find(|letter| is_vowel(*letter));
    let letters = [initial(paternal), inner_vowel.unwrap_or('X'), initial(maternal), initial(given)];
    let word: String = letters.iter().collect();
    if INCONVENIENT_WORDS.split(' ').any(|inconvenient| inconvenient == word) {
        return [letters[0], 'X', letters[2], letters[3]].iter().collect();
    }
    word
}

fn initial(word: &str) -> char {
    word.chars().next().map_or('X', plain)
}

fn inner_consonant(word: &str) -> char {
    word.chars().skip(1).find(|letter| letter.is_alphabetic() && !is_vowel(*letter)).map_or('X', plain)
}

/// A CURP has no Ñ.
fn plain(letter: char) -> char {
    if letter.is_ascii_uppercase() { letter } else { 'X' }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_check_digit_is_that_of_the_registry() {
        // Two examples of an interface's documentation, whose own digit is wrong for the first of them.
        assert_eq!(check_digit("TEST890919HNLNSR0"), '1');
        assert_eq!(check_digit("HAEC890919HNLNSR0"), '3');
    }

    fn check(names: [&str; 3], (year, month, day): (i16, i8, i8), sex: char, state: &str, expected: &str) {
        let [given_names, paternal_surname, maternal_surname] = names;
        let maternal_surname = Some(maternal_surname).filter(|name| !name.is_empty());
        let born_on = date(year, month, day);
        let source =
            CurpSource { given_names, paternal_surname, maternal_surname, born_on, sex, state, homonym: 0 };
        let found = curp(&source);
        assert_eq!(&found[..17], expected);
        assert_eq!(found.len(), 18);
        assert_eq!(found.chars().last(), Some(check_digit(&found[..17])));
    }

    #[test]
    fn keys_follow_the_instructions() {
        check(["Concepción", "Salgado", "Briseño"], (1956, 6, 26), 'M', "DF", "SABC560626MDFLRN0");
        // The first given name is skipped where it is one that half the country has.
        check(["María Fernanda", "Hernández", "López"], (1989, 9, 19), 'M', "NL", "HELF890919MNLRPR0");
        check(["José", "Pérez", "Ruiz"], (1989, 9, 19), 'H', "NL", "PERJ890919HNLRZS0");
        // Ñ becomes X, particles are skipped, and a missing surname is X.
        check(["Luis", "Ñáñez", "de la Cruz"], (1970, 1, 2), 'H', "JC", "XACL700102HJCXRS0");
        check(["Luis", "Muñoz", ""], (1970, 1, 2), 'H', "JC", "MUXL700102HJCXXS0");
        // No vowel but the first letter, and no consonant after it.
        check(["Eva", "Uc", "Ek"], (1970, 1, 2), 'M', "YN", "UXEE700102MYNCKV0");
        // BACA is not wanted.
        check(["Ana", "Barrios", "Cruz"], (1970, 1, 2), 'M', "PL", "BXCA700102MPLRRN0");
        // Born in this century.
        check(["Ana", "García", "Ríos"], (2001, 12, 31), 'M', "PL", "GARA011231MPLRSNA");
    }
}
