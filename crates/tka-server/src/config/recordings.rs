//! Where recordings are kept, by what the settings say together.

use std::path::Path;

use thiserror::Error;
use tka_recording::seal::RecipientError;
use tka_recording::sink::s3::StoreError;

use super::sections::{GatewayRecording, S3};

/// Where recordings are kept.
#[derive(Clone, Copy, Debug)]
pub enum RecordingPlace<'s> {
    /// In a folder.
    Folder(&'s Path),
    /// In a bucket.
    Bucket(&'s S3),
}

/// Why recordings cannot be kept as the configuration says.
#[derive(Debug, Error)]
pub enum RecordingsError {
    /// There are two places.
    #[error("gateway.recording.folder and gateway.recording.s3.bucket are both set: leave one out")]
    Two,
    /// There is none, and something that only has a meaning with one.
    #[error(
        "{0} has no meaning without gateway.recording.folder or gateway.recording.s3.bucket: set one, or leave it out"
    )]
    None(&'static str),
    /// There is no bucket, and something that only has a meaning with one.
    #[error("{0} has no meaning without gateway.recording.s3.bucket: set that, or leave it out")]
    NoBucket(&'static str),
    /// They are in a bucket, from which the server removes nothing.
    #[error(
        "recordings are removed from gateway.recording.folder alone, and not from a bucket: leave gateway.recording.retentionDays out, and give the bucket a lifecycle rule"
    )]
    Retention,
    /// They cannot be sealed.
    #[error("recordings cannot be sealed")]
    Recipients(#[from] RecipientError),
    /// The store cannot be used.
    #[error("recordings cannot be put into gateway.recording.s3")]
    Store(#[from] StoreError),
}

// === impl GatewayRecording ===

impl GatewayRecording {
    /// Where recordings are kept; nothing where that is not set.
    pub fn place(&self) -> Result<Option<RecordingPlace<'_>>, RecordingsError> {
        match (self.folder(), self.s3.bucket.is_empty()) {
            (Some(_), false) => Err(RecordingsError::Two),
            (_, true) if let Some(key) = self.s3.first_set() => Err(RecordingsError::NoBucket(key)),
            (Some(folder), true) => Ok(Some(RecordingPlace::Folder(folder))),
            (None, false) if self.retention_days > 0 => Err(RecordingsError::Retention),
            (None, false) => Ok(Some(RecordingPlace::Bucket(&self.s3))),
            (None, true) => self.nothing_of_a_place().map(|()| None),
        }
    }

    fn nothing_of_a_place(&self) -> Result<(), RecordingsError> {
        let recipients = (!self.recipients.is_empty()).then_some("gateway.recording.recipients");
        let retention = (self.retention_days > 0).then_some("gateway.recording.retentionDays");
        recipients
            .or(retention)
            .map_or(Ok(()), |key| Err(RecordingsError::None(key)))
    }
}

// === impl S3 ===

impl S3 {
    /// The first key beside the bucket that is set.
    fn first_set(&self) -> Option<&'static str> {
        let keys = [
            ("gateway.recording.s3.endpoint", &self.endpoint),
            ("gateway.recording.s3.region", &self.region),
            ("gateway.recording.s3.prefix", &self.prefix),
        ];
        keys.into_iter()
            .find(|(_, value)| !value.is_empty())
            .map(|(key, _)| key)
    }
}

// === impl RecordingsError ===

impl RecordingsError {
    /// The key of the configuration that it is about.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Two | Self::Store(_) => "gateway.recording.s3.bucket",
            Self::None(key) | Self::NoBucket(key) => key,
            Self::Retention => "gateway.recording.retentionDays",
            Self::Recipients(_) => "gateway.recording.recipients",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &str, bucket: &str) -> GatewayRecording {
        let mut settings = GatewayRecording {
            folder: folder.into(),
            ..GatewayRecording::default()
        };
        settings.s3.bucket = bucket.into();
        settings
    }

    #[test]
    fn recordings_are_kept_in_one_place() {
        assert!(matches!(settings("", "").place(), Ok(None)));
        assert!(matches!(
            settings("/r", "").place(),
            Ok(Some(RecordingPlace::Folder(_)))
        ));
        assert!(matches!(settings("", "b").place(), Ok(Some(RecordingPlace::Bucket(_)))));
        assert!(matches!(settings("/r", "b").place(), Err(RecordingsError::Two)));
    }

    /// A setting without an effect would be taken for one that has.
    #[test]
    fn what_has_no_meaning_where_recordings_are_kept_is_refused() {
        type Set = fn(&mut GatewayRecording);
        let all: [(&str, Set); 5] = [
            ("recipients", |settings| settings.recipients = vec!["age1".into()]),
            ("s3.endpoint", |settings| settings.s3.endpoint = "https://s".into()),
            ("s3.region", |settings| settings.s3.region = "r".into()),
            ("s3.prefix", |settings| settings.s3.prefix = "p".into()),
            ("retentionDays", |settings| settings.retention_days = 1),
        ];
        for (key, set) in all {
            let with = |mut settings: GatewayRecording| {
                set(&mut settings);
                settings.place().err().map(|error| error.key().to_owned())
            };
            let named = format!("gateway.recording.{key}");
            assert_eq!(with(settings("", "")).as_ref(), Some(&named));
            let is_of_bucket = key.starts_with("s3.");
            assert_eq!(with(settings("/r", "")), is_of_bucket.then(|| named.clone()), "{key}");
            let is_of_folder = key == "retentionDays";
            assert_eq!(with(settings("", "b")), is_of_folder.then_some(named), "{key}");
        }
    }
}
