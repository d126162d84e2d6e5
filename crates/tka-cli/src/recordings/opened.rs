//! A recording as it can be read: sealed flushes are opened one after another, as `tka-recording` seals them.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};

use super::RecordingError;
use super::identities::{Identities, IdentityFiles};
use crate::api::client::Download;

/// The line with which each sealed flush ends.
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
/// The longest sealed flush that is read, in bytes. The server seals a few megabytes at a time.
const LONGEST: usize = 64 * 1024 * 1024;

/// Why a flush cannot be opened.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("no identity is of a recipient of the recording")]
    NotForUs,
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// Opens what `sealed` gives. One flush is in memory at a time.
struct UnsealingReader<R> {
    sealed: BufReader<R>,
    identities: Identities,
    flush: Cursor<Vec<u8>>,
}

/// What is in a recording. One that is sealed is opened with the identities of `files`.
pub(crate) fn opened(
    id: &str,
    download: Download,
    files: &IdentityFiles,
) -> Result<Box<dyn Read + Send>, RecordingError> {
    if !download.sealed {
        return Ok(download.reader);
    }
    if files.is_empty() {
        return Err(RecordingError::Sealed { id: id.to_owned() });
    }
    Ok(Box::new(UnsealingReader::new(download.reader, files.get()?.clone())))
}

// === impl UnsealingReader ===

impl<R: Read> UnsealingReader<R> {
    fn new(sealed: R, identities: Identities) -> Self {
        Self {
            sealed: BufReader::new(sealed),
            identities,
            flush: Cursor::default(),
        }
    }

    /// The next sealed flush; none at the end.
    fn next_flush(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut flush = Vec::new();
        loop {
            let line = flush.len();
            let room = u64::try_from(LONGEST.saturating_sub(line)).unwrap_or(0);
            let read = (&mut self.sealed).take(room).read_until(b'\n', &mut flush)?;
            match read {
                0 if flush.trim_ascii().is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if flush[line..].trim_ascii() == END => return Ok(Some(flush)),
                _ => {}
            }
        }
    }

    fn open(&self, flush: &[u8]) -> io::Result<Vec<u8>> {
        let damaged = |error: &dyn std::fmt::Display| io::Error::other(OpenError::Damaged(error.to_string()));
        let sealed = Decryptor::new(ArmoredReader::new(flush)).map_err(|error| damaged(&error))?;
        let mut reader = sealed.decrypt(self.identities.iter()).map_err(|error| match error {
            DecryptError::NoMatchingKeys => io::Error::other(OpenError::NotForUs),
            error => damaged(&error),
        })?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain).map_err(|error| damaged(&error))?;
        Ok(plain)
    }
}

impl<R: Read> Read for UnsealingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.flush.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(flush) = self.next_flush()? else {
                return Ok(0);
            };
            self.flush = Cursor::new(self.open(&flush)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::Encryptor;
    use age::armor::{ArmoredWriter, Format};
    use age::x25519::Identity;
    use std::io::Write;

    /// A flush as the server seals it.
    fn seal(to: &Identity, text: &str) -> String {
        let recipient = to.to_public();
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
        let mut writer = encryptor.wrap_output(armored).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        let mut sealed = writer.finish().and_then(ArmoredWriter::finish).unwrap();
        if !sealed.ends_with(b"\n") {
            sealed.push(b'\n');
        }
        String::from_utf8(sealed).unwrap()
    }

    fn read(sealed: &str, identities: &Identities) -> Result<String, RecordingError> {
        let mut text = String::new();
        let read = UnsealingReader::new(sealed.as_bytes(), identities.clone()).read_to_string(&mut text);
        read.map(|_| text).map_err(|error| RecordingError::unread("x", error))
    }

    #[test]
    fn flushes_are_opened_one_after_another() {
        let (ours, theirs) = (Identity::generate(), Identity::generate());
        let sealed = seal(&ours, "one\n") + &seal(&ours, "two\n");
        assert_eq!(read(&sealed, &Identities::of(&ours)).unwrap(), "one\ntwo\n");
        assert_eq!(read("", &Identities::of(&ours)).unwrap(), "");
        let wrong = read(&sealed, &Identities::of(&theirs)).unwrap_err();
        assert!(matches!(wrong, RecordingError::NotForUs { .. }), "{wrong:?}");
        let reader = Box::new(io::empty());
        let none = opened("x", Download { sealed: true, reader }, &IdentityFiles::default());
        assert!(matches!(none, Err(RecordingError::Sealed { .. })));
        // A flush that another recipient's follows is not the end.
        let mixed = seal(&ours, "one\n") + &seal(&theirs, "two\n");
        assert!(matches!(
            read(&mixed, &Identities::of(&ours)),
            Err(RecordingError::NotForUs { .. })
        ));
    }

    #[test]
    fn what_is_cut_or_changed_is_no_end() {
        let ours = Identity::generate();
        let sealed = seal(&ours, "one\n") + &seal(&ours, "two\n");
        let cut = read(&sealed[..sealed.len() - 40], &Identities::of(&ours)).unwrap_err();
        assert!(matches!(cut, RecordingError::Cut { .. }), "{cut:?}");
        let mut changed = sealed.clone().into_bytes();
        let at = sealed.len() - 60;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = read(&String::from_utf8(changed).unwrap(), &Identities::of(&ours)).unwrap_err();
        assert!(matches!(changed, RecordingError::OpenError { .. }), "{changed:?}");
        let junk = read("<html>\n-----END AGE ENCRYPTED FILE-----\n", &Identities::of(&ours)).unwrap_err();
        assert!(matches!(junk, RecordingError::OpenError { .. }), "{junk:?}");
    }
}
