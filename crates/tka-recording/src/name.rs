//! Names of recordings.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// What a recording is called: when it began and an ID. Nothing that a caller, a pod or a policy says is in it, so that none of them can choose where
/// it is kept. Names sort by time.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordingName {
    text: String,
}

/// How the time is written: `20261126T175446.123Z`.
const TIME: &str = "%Y%m%dT%H%M%S.%3fZ";
/// How long that is.
const TIME_LENGTH: usize = 20;
/// How long an ID is: a UUID.
const ID_LENGTH: usize = 36;

// === impl RecordingName ===

impl RecordingName {
    /// The name of a recording that begins at `began` and has the ID `id`, which this server makes: a UUID in small letters. None where it is none, or the time
    /// has no four digits for its year.
    #[must_use]
    pub fn new(began: Timestamp, id: &str) -> Option<Self> {
        let time = strtime::format(TIME, &began.to_zoned(TimeZone::UTC)).ok()?;
        Self::parse(&format!("{time}-{id}"))
    }

    /// A name as [`Self::new`] makes it; none where it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, id) = text.split_at_checked(TIME_LENGTH)?;
        let id = id.strip_prefix('-')?;
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let is_id = id.len() == ID_LENGTH && id.chars().all(|c| is_hex(c) || c == '-');
        (is_id && read(time).is_some()).then(|| Self { text: text.to_owned() })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When the recording began, to the millisecond.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        read(&self.text[..TIME_LENGTH]).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

fn read(time: &str) -> Option<Timestamp> {
    let bytes = time.as_bytes();
    let is_formed = bytes.iter().enumerate().all(|(at, byte)| match at {
        8 => *byte == b'T',
        15 => *byte == b'.',
        19 => *byte == b'Z',
        _ => byte.is_ascii_digit(),
    });
    let civil = strtime::parse("%Y%m%dT%H%M%S%.fZ", time).ok()?.to_datetime().ok()?;
    let read = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    is_formed.then_some(read)
}

impl fmt::Display for RecordingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";

    #[test]
    fn name_is_the_time_and_the_id() {
        let began: Timestamp = "2026-11-26T17:54:46.123456Z".parse().unwrap();
        let name = RecordingName::new(began, ID).unwrap();
        assert_eq!(name.as_str(), format!("20261126T175446.123Z-{ID}"));
        assert_eq!(RecordingName::parse(name.as_str()), Some(name.clone()));
        assert_eq!(name.began(), "2026-11-26T17:54:46.123Z".parse().unwrap());
        let whole = RecordingName::new("2026-01-02T03:04:05Z".parse().unwrap(), ID).unwrap();
        assert!(whole.as_str().starts_with("20260102T030405.000Z-"));
        assert!(whole < name);
    }

    #[test]
    fn other_texts_are_no_names() {
        let good = format!("20261126T175446.123Z-{ID}");
        for text in [
            String::new(),
            "..".to_owned(),
            good.replace('-', "/"),
            good.replace("0f9d", "../d"),
            good.replace("0f9d", "0F9D"),
            format!("{good}x"),
            format!(" {good}"),
            good.replace("20261126", "20261340"),
            good.replace("20261126", "+2026112"),
            good.replace("446", "46\u{e9}"),
        ] {
            assert_eq!(RecordingName::parse(&text), None, "{text}");
        }
        assert_eq!(RecordingName::new(Timestamp::now(), "../../etc/passwd"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_of_these_letters_or_none(text in "\\PC{0,60}|[0-9TZ.a-f/-]{57}") {
            if let Some(name) = RecordingName::parse(&text) {
                prop_assert!(name.as_str().chars().all(|c| c.is_ascii_digit() || "TZ.-abcdef".contains(c)));
                prop_assert_eq!(name.as_str().len(), 57);
            }
        }
    }
}
