//! Recordings that only their recipients read: each flush is sealed by itself (<https://age-encryption.org/v1>).
//!
//! So what was acknowledged can be read whatever happens next, and the store reads nothing. A flush is one armored age file: text between a line that
//! begins it and one that ends it. A recording is these one after another. Sealing hides what was recorded. It does not show who sealed it.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use age::Encryptor;
use age::armor::{ArmoredWriter, Format};
use age::x25519::Recipient;
use bytes::Bytes;
use futures::FutureExt;
use thiserror::Error;

use crate::name::RecordingName;
use crate::sink::{Encoding, RecordingWriter, Sink, SinkError, SinkFuture};

/// Who may read recordings; one at least.
#[derive(Clone)]
pub struct Recipients(Arc<[Recipient]>);

/// Why a text is no recipient.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text} is no recipient of age ({why}): age-keygen prints one, age1 and 58 more letters and digits")]
pub struct RecipientError {
    /// What it begins with. The rest is left out: it may be an identity, which is a secret.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Seals what another sink keeps.
#[derive(Debug)]
pub struct Sealed {
    sink: Arc<dyn Sink>,
    recipients: Recipients,
}

#[derive(Debug)]
struct SealedWriter {
    writing: Box<dyn RecordingWriter>,
    recipients: Recipients,
}

// === impl Recipients ===

impl Recipients {
    /// Reads recipients; none where there is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Option<Self>, RecipientError> {
        let read = |text: &'a str| {
            let recipient = text.parse::<Recipient>();
            recipient.map_err(|why| RecipientError {
                text: text.chars().take(8).collect::<String>() + "\u{2026}",
                why,
            })
        };
        let recipients: Vec<Recipient> = texts.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok((!recipients.is_empty()).then(|| Self(recipients.into())))
    }

    /// `bytes`, so that only the recipients read them.
    fn seal(&self, bytes: &[u8]) -> Result<Bytes, SinkError> {
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let sealed = Encryptor::with_recipients(recipients).map_err(|_| SinkError::Seal)?;
        let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = sealed.wrap_output(armored)?;
        writer.write_all(bytes)?;
        let mut text = writer.finish().and_then(ArmoredWriter::finish)?;
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        Ok(text.into())
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

// === impl Sealed ===

impl Sealed {
    /// Seals to `recipients` what `sink` keeps.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, recipients: Recipients) -> Self {
        Self { sink, recipients }
    }
}

impl Sink for Sealed {
    fn begin(&self, name: &RecordingName, _: Encoding) -> SinkFuture<'_, Box<dyn RecordingWriter>> {
        let name = name.clone();
        async move {
            let writing = self.sink.begin(&name, Encoding::Sealed).await?;
            let recipients = self.recipients.clone();
            let sealed: Box<dyn RecordingWriter> = Box::new(SealedWriter { writing, recipients });
            Ok(sealed)
        }
        .boxed()
    }
}

impl RecordingWriter for SealedWriter {
    fn append(&mut self, bytes: Bytes) -> SinkFuture<'_, ()> {
        match self.recipients.seal(&bytes) {
            Ok(sealed) => self.writing.append(sealed),
            Err(error) => async { Err(error) }.boxed(),
        }
    }

    fn finish(self: Box<Self>) -> SinkFuture<'static, ()> {
        self.writing.finish()
    }

    fn discard(self: Box<Self>) -> SinkFuture<'static, ()> {
        self.writing.discard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::folder::Folder;
    use age::armor::ArmoredReader;
    use age::secrecy::ExposeSecret;
    use age::x25519::Identity;
    use std::fs;
    use std::io::Read;
    use std::time::{Duration, SystemTime};

    /// What `identity` reads of a file, flush by flush.
    fn opened(text: &str, identity: &Identity) -> Option<String> {
        let mut plain = String::new();
        for flush in text.split_inclusive(Encoding::Sealed.mark()) {
            let armored = ArmoredReader::new(flush.as_bytes());
            let sealed = age::Decryptor::new(armored).unwrap();
            let identities = std::iter::once(identity as &dyn age::Identity);
            sealed.decrypt(identities).ok()?.read_to_string(&mut plain).unwrap();
        }
        Some(plain)
    }

    fn recipients(identities: &[&Identity]) -> Recipients {
        let texts: Vec<String> = identities
            .iter()
            .map(|identity| identity.to_public().to_string())
            .collect();
        Recipients::parse(texts.iter().map(String::as_str)).unwrap().unwrap()
    }

    #[tokio::test]
    async fn each_flush_is_for_its_recipients_alone_and_survives_a_kill() {
        let (ours, theirs, stranger) = (Identity::generate(), Identity::generate(), Identity::generate());
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        let sink = Sealed::new(Arc::new(folder.clone()), recipients(&[&ours, &theirs]));
        let id = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
        let name = RecordingName::new("2026-11-26T17:00:00Z".parse().unwrap(), id).unwrap();
        let mut writing = sink.begin(&name, Encoding::Plain).await.unwrap();
        for flush in ["{\"version\": 2}\n", "[0.5, \"o\", \"secret\"]\n"] {
            writing.append(flush.into()).await.unwrap();
        }
        drop(writing);
        let part = folder.list().unwrap().remove(0);
        assert!(part.is_sealed && !part.is_whole);
        let text = fs::read_to_string(&part.path).unwrap();
        assert!(!text.contains("secret"));
        let expected = "{\"version\": 2}\n[0.5, \"o\", \"secret\"]\n";
        // Killed within the next flush.
        let half = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3Jn\n";
        fs::write(&part.path, text.clone() + half).unwrap();
        assert_eq!(folder.recover(SystemTime::now() + Duration::from_mins(2)).unwrap(), 1);
        let whole = folder.list().unwrap().remove(0);
        assert!(whole.is_whole && whole.path.to_str().unwrap().ends_with(".cast.age"));
        let text = fs::read_to_string(&whole.path).unwrap();
        assert_eq!(opened(&text, &ours).as_deref(), Some(expected));
        assert_eq!(opened(&text, &theirs).as_deref(), Some(expected));
        assert_eq!(opened(&text, &stranger), None);
    }

    #[test]
    fn what_is_no_recipient_is_refused_and_no_secret_is_told() {
        assert!(Recipients::parse([]).unwrap().is_none());
        let secret = Identity::generate().to_string().expose_secret().to_owned();
        for text in ["", "age1", "alice@example.com", secret.as_str()] {
            let error = Recipients::parse([text]).unwrap_err().to_string();
            assert!(error.contains("age-keygen") && !error.contains(&secret), "{error}");
        }
    }
}
