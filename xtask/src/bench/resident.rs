//! How much memory a program has resident.
//!
//! A process is counted what the one that it was started from had, too (getrusage(2): `ru_maxrss` is kept across execve). So programs are started
//! from a process that has little: this one again, before it has done anything.

use std::env;
use std::io;
use std::process::{Command, ExitCode, Stdio};

use wait4::Wait4;

/// The first argument that makes of this program one that measures another.
const WORD: &str = "measure-resident";

/// If that is what this process is for: runs the rest of the command line, and prints the bytes that it had resident at most.
pub(crate) fn measured() -> Option<ExitCode> {
    let mut args = env::args_os().skip(1);
    args.next().filter(|word| word == WORD)?;
    let mut program = Command::new(args.next()?);
    program.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let used = program.spawn().and_then(Wait4::wait4);
    Some(match used {
        Ok(used) if used.status.success() => {
            println!("{}", used.rusage.maxrss);
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    })
}

/// The bytes that `program` has resident at most, in its environment.
pub(super) fn of(program: &Command) -> io::Result<u64> {
    let mut outer = Command::new(env::current_exe()?);
    outer
        .arg(WORD)
        .arg(program.get_program())
        .args(program.get_args())
        .env_clear();
    outer.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = outer.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("{program:?} could not be measured")))
}
