//! Spanish letters as keys made of names need them: upper case, without accents, with Ñ.

/// Words of a surname or a given name that say nothing about which name it is, so that keys skip them.
const PARTICLES: [&str; 20] = [
    "DA", "DAS", "DE", "DEL", "DER", "DI", "DIE", "DD", "EL", "LA", "LAS", "LE", "LES", "LOS", "MAC", "MC",
    "VAN", "VON", "Y", "MI",
];
/// Given names so common that a key takes the next one, if there is a next.
const COMMON_GIVEN_NAMES: [&str; 7] = ["MARIA", "MA", "MA.", "M.", "JOSE", "J", "J."];

/// Returns the letters in upper case without accents; Ñ stays, as it is a letter of its own.
pub(super) fn upper(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).map(unaccented).collect()
}

/// Returns the letters in lower case without accents and Ñ, and nothing else: what mail addresses are made of.
pub(super) fn ascii_lower(text: &str) -> String {
    let letters = text.chars().flat_map(char::to_uppercase).map(unaccented);
    let letters = letters.map(|letter| if letter == 'Ñ' { 'N' } else { letter });
    letters.filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn unaccented(letter: char) -> char {
    match letter {
        'Á' | 'À' | 'Â' | 'Ã' => 'A',
        'É' | 'Ê' => 'E',
        'Í' => 'I',
        'Ó' | 'Ô' | 'Õ' => 'O',
        'Ú' | 'Ü' => 'U',
        'Ç' => 'C',
        letter => letter,
    }
}

/// Returns the word of a surname, in upper case, that stands for it: of `de la Cruz` it is `CRUZ`.
pub(super) fn surname_word(upper: &str) -> &str {
    upper.split(' ').find(|word| !PARTICLES.contains(word)).unwrap_or(upper)
}

/// Returns the word of the given names, in upper case, that stands for them: of `MARIA DE LOS ANGELES` it is
/// `ANGELES`.
pub(super) fn given_word(upper: &str) -> &str {
    let mut words = upper.split(' ').filter(|word| !PARTICLES.contains(word));
    match (words.next(), words.next()) {
        (Some(first), Some(second)) if COMMON_GIVEN_NAMES.contains(&first) => second,
        (first, _) => first.unwrap_or(upper),
    }
}

pub(super) fn is_vowel(letter: char) -> bool {
    matches!(letter, 'A' | 'E' | 'I' | 'O' | 'U')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_lose_their_accents_and_ñ_stays() {
        assert_eq!(upper("Múñoz Argüelles"), "MUÑOZ ARGUELLES");
        assert_eq!(ascii_lower("de la Peña"), "delapena");
        assert_eq!(ascii_lower("Conceição Gonçalves"), "conceicaogoncalves");
    }

    #[test]
    fn words_that_stand_for_a_name() {
        let check = |found: &str, expected: &str| assert_eq!(found, expected);
        check(surname_word("DE LA CRUZ"), "CRUZ");
        check(surname_word("PONCE DE LEON"), "PONCE");
        check(surname_word("DEL"), "DEL");
        check(given_word("MARIA DE LOS ANGELES"), "ANGELES");
        check(given_word("MARIA JOSE"), "JOSE");
        check(given_word("JOSE"), "JOSE");
        check(given_word("ANA MARIA"), "ANA");
        check(given_word("MARCO ANTONIO"), "MARCO");
    }
}
