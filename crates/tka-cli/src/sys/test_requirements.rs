//! Requirements of tests that a machine may lack.

/// Reports that this machine lacks `what`, so that a test checks nothing. In CI that is a failure.
pub(crate) fn report_missing(what: &str) {
    let text = format!("NOT TESTED: this machine lacks {what}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
    // The test runner would hide the output of `eprintln`.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// Makes a named pipe, which hangs the one who reads it.
#[cfg(unix)]
pub(crate) fn make_fifo(path: &std::path::Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Whether tests run as root, which may change the owners of files.
#[cfg(unix)]
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        report_missing("root, to run tests");
    }
    is_root
}
