//! How a later stage of a session adds to an earlier one: an absent field keeps, a present one replaces, records and
//! maps merge member by member, attachments by their id; a path in `cleared` takes a value back.

use crate::{Attachment, Session};
use std::collections::BTreeMap;

/// A record whose later stage adds to an earlier one.
pub trait Merge {
    /// Takes over what the later stage says.
    fn merge(&mut self, later: Self);

    /// Takes a dotted path back and tells whether there was a value.
    fn clear(&mut self, path: &str) -> bool;
}

impl Session {
    /// Adds a later stage to this one; paths it clears are cleared first, so that it may give a value anew.
    pub fn absorb(&mut self, mut later: Session) {
        for path in std::mem::take(&mut later.cleared) {
            self.clear(&path);
        }
        self.merge(later);
    }

    /// Tells whether a dotted path names a field that can be cleared.
    pub fn knows_path(path: &str) -> bool {
        let mut leaves = Vec::new();
        Session::leaf_names("", &mut leaves);
        let (first, rest) = split(path);
        match (first, rest) {
            ("attachments" | "attributes", None) | ("attributes", Some(_)) => true,
            ("session_id", _) => false,
            (_, None) => {
                leaves.iter().any(|leaf| leaf.name == path || leaf.name.split('.').next() == Some(first))
            }
            _ => leaves.iter().any(|leaf| {
                leaf.name == path || leaf.name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
            }),
        }
    }
}

pub(crate) fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

pub(crate) fn value<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}

pub(crate) fn record<T: Merge>(earlier: &mut Option<T>, later: Option<T>) {
    match (earlier.as_mut(), later) {
        (Some(earlier), Some(later)) => earlier.merge(later),
        (None, later) => *earlier = later,
        (Some(_), None) => {}
    }
}

pub(crate) fn map(earlier: &mut Option<BTreeMap<String, String>>, later: Option<BTreeMap<String, String>>) {
    match (earlier.as_mut(), later) {
        (Some(earlier), Some(later)) => earlier.extend(later),
        (None, later) => *earlier = later,
        (Some(_), None) => {}
    }
}

pub(crate) fn attachments(earlier: &mut Option<Vec<Attachment>>, later: Option<Vec<Attachment>>) {
    let Some(later) = later else { return };
    let all = earlier.get_or_insert_default();
    for attachment in later {
        match all.iter_mut().find(|known| known.id == attachment.id) {
            Some(known) => *known = attachment,
            None => all.push(attachment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Place};

    fn session() -> Session {
        Session {
            session_id: "s-1".into(),
            email: Some("a@example.org".into()),
            device: Some(Device { id: Some("d-1".into()), os: Some("iOS".into()), ..Device::default() }),
            attributes: Some(BTreeMap::from([("plan".into(), "gold".into())])),
            ..Session::default()
        }
    }

    #[test]
    fn absent_keeps_present_replaces_and_records_merge() {
        let mut merged = session();
        merged.absorb(Session {
            session_id: "s-1".into(),
            ip: Some("192.0.2.1".into()),
            device: Some(Device { os: Some("iOS 18".into()), ..Device::default() }),
            attributes: Some(BTreeMap::from([("shop".into(), "7".into())])),
            ..Session::default()
        });
        assert_eq!(merged.email.as_deref(), Some("a@example.org"));
        assert_eq!(merged.ip.as_deref(), Some("192.0.2.1"));
        let device = merged.device.expect("the device is kept");
        assert_eq!((device.id.as_deref(), device.os.as_deref()), (Some("d-1"), Some("iOS 18")));
        assert_eq!(merged.attributes.expect("attributes are kept").len(), 2);
    }

    #[test]
    fn a_cleared_path_is_taken_back_before_the_stage_adds() {
        let mut merged = session();
        merged.absorb(Session {
            session_id: "s-1".into(),
            cleared: vec!["email".into(), "device.os".into(), "attributes.plan".into(), "location".into()],
            location: Some(Place { lat: Some(1.0), ..Place::default() }),
            ..Session::default()
        });
        assert_eq!(merged.email, None);
        assert_eq!(merged.device.expect("the device is kept").os, None);
        assert!(merged.attributes.expect("the map is kept").is_empty());
        assert!(merged.location.is_some());
        assert!(merged.cleared.is_empty());
    }

    #[test]
    fn paths_are_known_by_the_schema() {
        for path in
            ["email", "device", "device.os", "attributes.anything", "attachments", "document.sdk.authentic"]
        {
            assert!(Session::knows_path(path), "{path}");
        }
        for path in ["session_id", "e-mail", "device.colour", "devic"] {
            assert!(!Session::knows_path(path), "{path}");
        }
    }
}
