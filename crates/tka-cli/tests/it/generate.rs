//! `tka generate man`; for `integration` see there.

use crate::tka::User;

#[test]
fn manual_has_a_page_a_command() {
    let user = User::new();
    let dir = user.home().join("share/man/man1");
    let outcome = user.run(&["generate", "man", "--dir", &dir.display().to_string()]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
    for page in ["tka.1", "tka-login.1", "tka-sessions-end.1", "tka-generate-man.1"] {
        let text = std::fs::read_to_string(dir.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let outcome = user.run(&["generate", "man"]);
    assert_eq!(outcome.stdout, std::fs::read_to_string(dir.join("tka.1")).unwrap());
}

#[test]
fn folder_that_cannot_be_written_to_is_said() {
    let outcome = User::new().run(&["generate", "man", "--dir", "/dev/null/man"]);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ cannot write the manual to /dev/null/man
      why  Not a directory (os error 20)
      do   name a folder that you may write to with --dir
    ");
    assert_eq!(outcome.status, 1);
}
