use crate::TimeMs;
use jiff::Timestamp;

/// First time that has a text: 0001-01-01T00:00:00Z, since RFC 3339 knows no earlier year.
const TIME_MS_MIN: TimeMs = -62_135_596_800_000;

/// Returns a time in RFC 3339 with milliseconds and `Z`, or nothing for one that has no such text: before the year 1 or
/// after the year 9999.
pub fn time_to_text(time: TimeMs) -> Option<String> {
    let timestamp = in_range(time)?;
    Some(format!("{timestamp:.3}"))
}

/// Returns the time of a text in RFC 3339, which must name its offset; what is finer than a millisecond is cut.
pub fn time_from_text(text: &str) -> Option<TimeMs> {
    let timestamp: Timestamp = text.parse().ok()?;
    let time = timestamp.as_millisecond();
    in_range(time).map(|_| time)
}

/// Tells whether a time has a text.
pub(super) fn has_text(time: TimeMs) -> bool {
    in_range(time).is_some()
}

fn in_range(time: TimeMs) -> Option<Timestamp> {
    if time < TIME_MS_MIN {
        return None;
    }
    Timestamp::from_millisecond(time).ok()
}

/// Tells whether a text is a day of the calendar, as `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shaped && text.parse::<jiff::civil::Date>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_with_any_offset_and_written_in_utc() {
        let noon = 1_772_366_400_000;
        for text in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z", "2026-03-01T06:00:00.000999-06:00"] {
            assert_eq!(time_from_text(text), Some(noon), "{text}");
        }
        assert_eq!(time_to_text(noon).as_deref(), Some("2026-03-01T12:00:00.000Z"));
        assert_eq!(time_to_text(noon + 7).as_deref(), Some("2026-03-01T12:00:00.007Z"));
        for text in [
            "2026-03-01T12:00:00",
            "2026-03-01",
            "",
            "now",
            "2026-02-30T00:00:00Z",
            "NaN",
            "99999-01-01T00:00:00Z",
        ] {
            assert_eq!(time_from_text(text), None, "{text}");
        }
        assert_eq!([time_to_text(i64::MIN), time_to_text(i64::MAX)], [None, None]);
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        for text in ["1989-09-19", "2024-02-29", "1900-12-31"] {
            assert!(is_date(text), "{text}");
        }
        for text in [
            "2023-02-29",
            "1989-13-01",
            "1989-9-19",
            "19890919",
            "89-09-19",
            "1989-09-19T00:00:00Z",
            "",
            "-989-09-19",
        ] {
            assert!(!is_date(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_survives_its_text(time in TIME_MS_MIN..253_402_207_200_999_i64) {
            let text = time_to_text(time).expect("the time is in range");
            prop_assert_eq!(time_from_text(&text), Some(time), "{}", text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,40}") {
            let _ = (time_from_text(&text), is_date(&text));
        }
    }
}
