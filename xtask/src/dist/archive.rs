//! Archives that are the same bytes each time.

use std::io;

use testbed::oci::{Compression, Rootfs, gzip};

/// `files` below a folder called `top`, with `time` as the time of each, in seconds since 1970.
pub(super) fn pack(files: &Rootfs, top: &str, time: u64) -> io::Result<Vec<u8>> {
    gzip(&files.below(top).layer(time)?, Compression::Best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_files_in_another_order_are_the_same_archive() {
        let packed = |names: [&str; 2]| {
            let mut files = Rootfs::default();
            for name in names {
                files.file(name, 0o644, name);
            }
            pack(&files, "tka-1.2.3", 7).unwrap()
        };
        let one = packed(["man/man1/tka.1", "tka"]);
        assert_eq!(one, packed(["tka", "man/man1/tka.1"]));
        // Without a time in the header of gzip (RFC 1952).
        assert_eq!(one[4..8], [0; 4]);
    }
}
