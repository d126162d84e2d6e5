//! Signals that ask this process to end, while it does what must not be cut off.

#[cfg(not(unix))]
pub(crate) use elsewhere::SignalHold;
#[cfg(unix)]
pub(crate) use unix::{SignalHold, disable_holds, not_ignored, wait_for_holds};

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::{flag, low_level};

    /// What asks this process to end.
    const TERMINATING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

    static HELD: RwLock<()> = RwLock::new(());
    /// None where signals are not ours to hold back.
    static FLAGS: OnceLock<Option<SignalFlags>> = OnceLock::new();

    /// What handlers of signals read and write.
    #[derive(Debug, Default)]
    struct SignalFlags {
        /// Whether a signal ends the process, as it does where nobody handles it.
        ends: Arc<AtomicBool>,
        /// The last one that came while it did not; 0 where none did.
        pending: Arc<AtomicUsize>,
    }

    /// While there is one, no signal ends this process. One that comes does afterwards.
    #[derive(Debug)]
    pub(crate) struct SignalHold {
        held: Option<RwLockReadGuard<'static, ()>>,
    }

    /// Leaves it to the caller what signals do from now on, who waits for [`wait_for_holds`] before it ends the process.
    pub(crate) fn disable_holds() {
        let _ = FLAGS.set(None);
    }

    /// Waits until nothing is done that must not be cut off, and keeps it from beginning.
    pub(crate) fn wait_for_holds() -> RwLockWriteGuard<'static, ()> {
        HELD.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of `signals` may be handled. What whoever started us has set to be ignored (`nohup`) stays so.
    pub(crate) fn not_ignored(signals: impl IntoIterator<Item = i32>) -> impl Iterator<Item = i32> {
        let ignored = ignored();
        signals
            .into_iter()
            .filter(move |signal| ignored & (1 << (signal - 1)) == 0)
    }

    /// The signals that this process ignores, the first in the lowest bit; none where the system does not tell (`proc_pid_status(5)`).
    fn ignored() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    }

    fn flags() -> Option<&'static SignalFlags> {
        FLAGS.get_or_init(|| SignalFlags::new().ok()).as_ref()
    }

    // === impl Watch ===

    impl SignalFlags {
        fn new() -> io::Result<Self> {
            let flags = Self::default();
            for signal in not_ignored(TERMINATING) {
                // In this order: whichever comes while `ends` is being set is seen here or there.
                flag::register_usize(signal, Arc::clone(&flags.pending), usize::try_from(signal).unwrap_or(0))?;
                flag::register_conditional_default(signal, Arc::clone(&flags.ends))?;
            }
            Ok(flags)
        }
    }

    // === impl Hold ===

    impl SignalHold {
        pub(crate) fn new() -> Self {
            let held = HELD.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(flags) = flags() {
                flags.ends.store(false, Ordering::SeqCst);
            }
            Self { held: Some(held) }
        }
    }

    impl Drop for SignalHold {
        fn drop(&mut self) {
            self.held = None;
            let Some(flags) = flags() else { return };
            flags.ends.store(true, Ordering::SeqCst);
            let pending = flags.pending.swap(0, Ordering::SeqCst);
            if let Some(signal) = i32::try_from(pending).ok().filter(|signal| *signal != 0) {
                let _ = low_level::emulate_default_handler(signal);
            }
        }
    }
}

/// Where there are no such signals.
#[cfg(not(unix))]
mod elsewhere {
    #[derive(Debug)]
    pub(crate) struct SignalHold;

    impl SignalHold {
        pub(crate) fn new() -> Self {
            Self
        }
    }
}
