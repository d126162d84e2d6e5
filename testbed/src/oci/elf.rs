//! Whether a program runs in an image that has no library.

/// The loader that a 64-bit little-endian ELF program asks for (`PT_INTERP`); none where it is static (`elf(5)`).
#[must_use]
pub fn interpreter(program: &[u8]) -> Option<String> {
    const INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    };
    let at = |at: usize, bytes: usize| usize::try_from(number(at, bytes)?).ok();
    let (table, size, count) = (at(32, 8)?, at(54, 2)?, at(56, 2)?);
    let header = (0..count)
        .map(|index| table.saturating_add(index * size))
        .find(|header| number(*header, 4) == Some(INTERP))?;
    let (offset, length) = (at(header.checked_add(8)?, 8)?, at(header.checked_add(32)?, 8)?);
    let loader = program.get(offset..offset.checked_add(length)?)?;
    Some(String::from_utf8_lossy(loader).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn program_with_a_loader_is_told_from_one_without() {
        // Test programs are dynamic on all systems that images are built on.
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        if cfg!(all(target_os = "linux", target_env = "gnu")) {
            assert!(
                interpreter(&own).is_some_and(|loader| loader.starts_with('/')),
                "{:?}",
                interpreter(&own)
            );
        }
        for odd in [&b""[..], b"\x7fELF", &[0; 64]] {
            assert_eq!(interpreter(odd), None);
        }
    }
}
