//! What a session must be to be accepted. Whatever breaks these rules would break an operator further on.

use pipeline::Reject;
use schemas::key::ID_BYTES_MAX;
use schemas::{Attachment, LeafValue, Place, Session};

/// Longest text of one field in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Most members of a list or of the free attributes.
const MEMBERS_MAX: usize = 256;
/// Characters of an unknown path that a reject shows.
const PATH_CHARS_SHOWN: usize = 64;

/// Checks one record of a session.
pub fn validate(session: &Session) -> Result<(), Reject> {
    id("session_id", Some(&session.session_id))?;
    for (name, value) in [
        ("tenant", &session.tenant),
        ("account_id", &session.account_id),
        ("external_id", &session.external_id),
        ("alias_id", &session.alias_id),
        ("request_id", &session.request_id),
        ("referring_session_id", &session.referring_session_id),
        ("subject_id", &session.subject_id),
    ] {
        id(name, value.as_ref())?;
    }
    place("location", session.location.as_ref())?;
    place("address", session.address.as_ref())?;
    device(session)?;
    dates(session)?;
    members(session)?;
    texts(session)?;
    if let Some(path) = session.cleared.iter().find(|path| !Session::knows_path(path)) {
        let shown: String = path.chars().take(PATH_CHARS_SHOWN).collect();
        return Err(Reject::new("unknown_field", format!("cleared names {shown:?}, which no session has")));
    }
    Ok(())
}

fn id(name: &str, value: Option<&String>) -> Result<(), Reject> {
    match value {
        Some(value) if value.is_empty() => Err(Reject::new("empty_id", format!("{name} is empty"))),
        Some(value) if value.len() > ID_BYTES_MAX => {
            let detail = format!("{name} has {} bytes, of at most {ID_BYTES_MAX}", value.len());
            Err(Reject::new("id_too_long", detail))
        }
        Some(value) if value.chars().any(char::is_control) => {
            Err(Reject::new("id_with_control_character", format!("{name} holds a control character")))
        }
        _ => Ok(()),
    }
}

fn place(name: &str, place: Option<&Place>) -> Result<(), Reject> {
    let Some(place) = place else { return Ok(()) };
    match (place.lat, place.lng) {
        (None, None) => {}
        (Some(lat), Some(lng)) => {
            // Comparisons with NaN are false, so that it is refused too.
            if !((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lng)) {
                let detail = format!("{name} has latitude {lat} and longitude {lng}");
                return Err(Reject::new("coordinates_out_of_range", detail));
            }
        }
        _ => return Err(Reject::new("half_a_position", format!("{name} has only one of lat and lng"))),
    }
    match place.accuracy_m {
        Some(accuracy_m) if !(accuracy_m.is_finite() && accuracy_m >= 0.0) => {
            Err(Reject::new("accuracy_out_of_range", format!("{name} has accuracy_m {accuracy_m}")))
        }
        _ => Ok(()),
    }
}

fn device(session: &Session) -> Result<(), Reject> {
    let Some(device) = &session.device else { return Ok(()) };
    if let Some(cores) = device.cpu_cores.filter(|cores| *cores < 1) {
        return Err(Reject::new(
            "device_out_of_range",
            format!("device.cpu_cores is {cores}; unknown is null"),
        ));
    }
    if let Some(memory_gb) = device.memory_gb.filter(|memory_gb| !(memory_gb.is_finite() && *memory_gb > 0.0))
    {
        return Err(Reject::new(
            "device_out_of_range",
            format!("device.memory_gb is {memory_gb}; unknown is null"),
        ));
    }
    Ok(())
}

fn dates(session: &Session) -> Result<(), Reject> {
    if let Some(time) = session.event_time.filter(|time| schemas::json::time_to_text(*time).is_none()) {
        let detail = format!("event_time {time} has no text in RFC 3339");
        return Err(Reject::new("event_time_out_of_range", detail));
    }
    let document = session.document.as_ref();
    for (name, date) in [
        ("date_of_birth", session.date_of_birth.as_ref()),
        ("document.date_of_issue", document.and_then(|document| document.date_of_issue.as_ref())),
        ("document.date_of_expiration", document.and_then(|document| document.date_of_expiration.as_ref())),
    ] {
        if date.is_some_and(|date| !schemas::json::is_date(date)) {
            return Err(Reject::new("not_a_date", format!("{name} is not a date as in 1989-09-19")));
        }
    }
    Ok(())
}

fn members(session: &Session) -> Result<(), Reject> {
    let count = |name: &str, count: usize| match count > MEMBERS_MAX {
        true => Err(Reject::new("too_many", format!("{name} has {count} members, of at most {MEMBERS_MAX}"))),
        false => Ok(()),
    };
    count("attributes", session.attributes.as_ref().map_or(0, |attributes| attributes.len()))?;
    count("forwarded_for", session.forwarded_for.as_ref().map_or(0, Vec::len))?;
    count("cleared", session.cleared.len())?;
    let attachments = session.attachments.as_deref().unwrap_or_default();
    count("attachments", attachments.len())?;
    for (index, attachment) in attachments.iter().enumerate() {
        id("attachments.id", Some(&attachment.id))?;
        if attachments[..index].iter().any(|earlier: &Attachment| earlier.id == attachment.id) {
            return Err(Reject::new("repeated_id", "two attachments have the same id"));
        }
    }
    Ok(())
}

fn texts(session: &Session) -> Result<(), Reject> {
    let mut values = Vec::new();
    session.leaves(&mut values);
    if let Some(place) = values.iter().position(is_too_long) {
        let mut names = Vec::new();
        Session::leaf_names("", &mut names);
        return Err(Reject::new(
            "text_too_long",
            format!("{} has more than {TEXT_BYTES_MAX} bytes", names[place].name),
        ));
    }
    values.clear();
    for attachment in session.attachments.iter().flatten() {
        attachment.leaves(&mut values);
    }
    if values.iter().any(is_too_long) {
        return Err(Reject::new(
            "text_too_long",
            format!("an attachment has a text of more than {TEXT_BYTES_MAX} bytes"),
        ));
    }
    let mut attributes = session.attributes.iter().flatten();
    if attributes.any(|(name, value)| name.len().max(value.len()) > TEXT_BYTES_MAX) {
        return Err(Reject::new(
            "text_too_long",
            format!("an attribute has more than {TEXT_BYTES_MAX} bytes"),
        ));
    }
    Ok(())
}

fn is_too_long(value: &LeafValue<'_>) -> bool {
    match value {
        LeafValue::Text(text) => text.len() > TEXT_BYTES_MAX,
        LeafValue::TextList(texts) => texts.iter().any(|text| text.len() > TEXT_BYTES_MAX),
        _ => false,
    }
}
