//! What a machine cannot test.

/// Says aloud that this machine lacks `what`, without which a test checks nothing. That is a failure where all is meant to be: in CI.
pub(crate) fn report_missing(what: &str) {
    let text = format!("NOT TESTED: this machine has no {what}, so what concerns it was not tried");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
    // Not by `eprintln`, which the test runner keeps to itself.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// Whether these tests may give files away, as only root may.
#[cfg(unix)]
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        report_missing("root who runs tests");
    }
    is_root
}
