//! Runs a program that shares the terminal.

use std::io;
use std::process::{Command, ExitCode};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, getpid, kill_process, waitpid};

use super::signals::SignalGuard;

/// Runs `command` to its end and returns its status as shells report it.
pub(super) fn run(command: &mut Command, guard: &SignalGuard, hangup_ends_it: bool) -> io::Result<ExitCode> {
    guard.starting();
    let ended = command.spawn().and_then(|child| {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it has no process ID"))?;
        guard.running(pid, hangup_ends_it);
        wait(pid)
    });
    guard.stopped();
    let status = ended?;
    let signal = status.terminating_signal();
    Ok(signal.map_or_else(|| exit_code(status.exit_status().unwrap_or(1)), status_of))
}

/// The status of a program that `signal` ended.
pub(super) fn status_of(signal: i32) -> ExitCode {
    exit_code(128 + signal)
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// Waits until the program has ended.
///
/// A program may stop itself, as a shell does at `suspend`. Then this process stops too, so that the shell that started it reads the
/// terminal again. The program continues when this process does.
fn wait(child: Pid) -> io::Result<WaitStatus> {
    loop {
        let waited = retry_on_intr(|| waitpid(Some(child), WaitOptions::UNTRACED))?;
        match waited {
            Some((_, status)) if !status.stopped() => return Ok(status),
            Some((_, status)) if !stops_process_group(child, status) => {
                kill_process(getpid(), Signal::STOP)?;
                kill_process(child, Signal::CONT)?;
            }
            Some(_) | None => {}
        }
    }
}

/// Whether the terminal stopped the whole process group, as with Ctrl-Z. A second stop would follow after continuing.
fn stops_process_group(child: Pid, status: WaitStatus) -> bool {
    let by_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU].map(|signal| Some(signal.as_raw()));
    by_terminal.contains(&status.stopping_signal()) && getpgid(Some(child)).is_ok_and(|group| group == getpgrp())
}
