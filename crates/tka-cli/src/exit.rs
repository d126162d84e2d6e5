//! Exit statuses, which tell scripts what happened.

use std::process::ExitCode;

/// The exit status of the command. Scripts rely on the numbers: add numbers, never change them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Any other failure.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no session.
    NotSignedIn = 3,
    /// The server refuses this caller.
    Refused = 4,
    /// The server cannot be reached.
    Unreachable = 5,
    /// The configuration is wrong.
    Configuration = 6,
    /// The tailnet policy gives this caller rules that cannot be used.
    Policy = 7,
    /// The server does not support this.
    Unsupported = 8,
    /// The sign-in waits for the approval of others.
    AwaitsApproval = 9,
    /// A search in recordings or audit records failed, or is not whole.
    SearchFailed = 10,
    /// A policy file, or one that belongs to it, cannot be read, or the control server would refuse it.
    PolicyUnreadable = 20,
    /// `tka policy check` found errors.
    PolicyWrong = 21,
    /// Expectations of `tka policy test` are not met.
    PolicyTestFailed = 22,
    /// The program for `tka exec` or `tka shell` exists but cannot be run. Shells use the same number.
    NotRunnable = 126,
    /// The program does not exist. Shells use the same number.
    NoSuchCommand = 127,
    /// A signal asked the command to end. Shells use the same number.
    Interrupted = 130,
}

/// The end of `tka help`.
pub(crate) const EXIT_STATUS_HELP: &str = "\
Exit status:
  0    done
  1    any other failure
  2    wrong command line
  3    not signed in
  4    refused: no rule of the tailnet policy reaches you, or the request came from outside the tailnet
  5    server not reachable
  6    wrong configuration
  7    the tailnet policy's rules for you are ambiguous or malformed, or you are on a tagged device
  8    the server does not support this: it is the original TKA server, or an older one
  9    the sign-in waits for the approval of others
  10   `tka recordings grep` or `tka audit` could not search all to the end
  20   a policy file, or one that belongs to it, cannot be read, or the control server would refuse it
  21   `tka policy` found what is wrong
  22   expectations of `tka policy test` are not met
  126  the command for `tka exec` or the shell cannot be run
  127  there is no such command
  130  interrupted

`tka exec` and `tka shell` return the status of the program that they ran. If a signal ended it, that is 128 plus the signal's number. `tka recordings grep` returns 1 where it finds no line.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::EXIT_STATUS_HELP;

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../README.md");
        for line in EXIT_STATUS_HELP.lines().skip(1).take_while(|line| !line.is_empty()) {
            let (code, meaning) = line.trim().split_once(' ').unwrap();
            let row = format!("| {code} | {} |", meaning.trim());
            assert!(readme.contains(&row), "README.md lacks {row}");
        }
    }
}
