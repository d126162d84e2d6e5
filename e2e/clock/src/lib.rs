//! Sets the time of day of one program, as an administrator or NTP would set that of the machine, for tests only.
//!
//! Loaded with `LD_PRELOAD`, it stands before the C library's `clock_gettime`, from which Rust's `SystemTime` has the time. How many seconds to add
//! is in the file that `CLOCK_OFFSET_FILE` names, and may change while the program runs. Clocks that cannot be set, by which timers run, are left
//! alone.

use std::env;
use std::ffi::c_int;
use std::fs;

/// As in `clock_gettime(2)`.
///
/// # Safety
///
/// `time` is where a `timespec` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    // SAFETY: the system call that this function is for, with its arguments as they came.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && clock == libc::CLOCK_REALTIME {
        // SAFETY: the system call has written there.
        unsafe { (*time).tv_sec += offset() };
    }
    if result == 0 { 0 } else { -1 }
}

/// How many seconds to add; none if no file says so.
fn offset() -> libc::time_t {
    let file = env::var_os("CLOCK_OFFSET_FILE");
    let text = file.and_then(|file| fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}
