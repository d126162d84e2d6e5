//! Holds termination signals back while something must not be interrupted.

#[cfg(not(unix))]
pub(crate) use elsewhere::{SignalHold, SignalNotice, on_terminating_signal, outlive_file_size_limit};
#[cfg(unix)]
pub(crate) use unix::{
    SignalHold, SignalNotice, disable_holds, not_ignored, on_terminating_signal, outlive_file_size_limit,
    wait_for_holds,
};

#[cfg(unix)]
mod unix {
    use std::io::{self, Write};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
    use std::{fs, thread};

    use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGXFSZ};
    use signal_hook::iterator::Signals;
    use signal_hook::{flag, low_level};

    /// Signals that ask this process to end. The last two tell limits of time, which a parent process may have set.
    const TERMINATING: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGXCPU];

    static HELD: RwLock<()> = RwLock::new(());
    /// None if another module handles signals.
    static FLAGS: OnceLock<Option<SignalFlags>> = OnceLock::new();

    /// Whether [`on_terminating_signal`] ends this process.
    static IS_HANDLED: AtomicBool = AtomicBool::new(false);
    /// What is told where a signal ends this process.
    static NOTICE: Mutex<Option<&'static str>> = Mutex::new(None);

    /// The flags that signal handlers read and write.
    #[derive(Debug, Default)]
    struct SignalFlags {
        /// Whether a signal ends the process, as by default.
        ends: Arc<AtomicBool>,
        /// The last signal that was held back; 0 for none.
        pending: Arc<AtomicUsize>,
    }

    /// While this exists, no signal ends the process. A pending one does afterwards.
    #[derive(Debug)]
    pub(crate) struct SignalHold {
        held: Option<RwLockReadGuard<'static, ()>>,
    }

    /// While this exists, a signal that ends this process tells a text first.
    #[derive(Debug)]
    pub(crate) struct SignalNotice(());

    /// Leaves signals to the caller, which calls [`wait_for_holds`] before it ends the process.
    pub(crate) fn disable_holds() {
        let _ = FLAGS.set(None);
    }

    /// From now on a signal that ends this process first runs `last`, once nothing holds it back. Fails where signals cannot be received.
    pub(crate) fn on_terminating_signal(last: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut signals = Signals::new(not_ignored(TERMINATING))?;
        disable_holds();
        IS_HANDLED.store(true, Ordering::SeqCst);
        if let Some(flags) = flags() {
            // Holds had them before.
            flags.ends.store(false, Ordering::SeqCst);
        }
        thread::Builder::new().spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let _held = wait_for_holds();
                if let Some(text) = take_notice() {
                    // There is nothing to do where that fails.
                    let _ = writeln!(io::stderr(), "{text}");
                }
                last();
                let _ = low_level::emulate_default_handler(signal);
            }
        })?;
        Ok(())
    }

    /// From now on a write beyond the file size limit fails with an error, and its signal does not end this process. Programs that this one
    /// starts have the signal's default: only ignored signals are inherited (`execve(2)`).
    pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
        for signal in not_ignored([SIGXFSZ]) {
            // Unread: the error says it.
            flag::register(signal, Arc::default())?;
        }
        Ok(())
    }

    /// Waits until there is no hold, and prevents new ones.
    pub(crate) fn wait_for_holds() -> RwLockWriteGuard<'static, ()> {
        HELD.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `signals` that may be handled. Signals that the parent process ignores (`nohup`) stay ignored.
    pub(crate) fn not_ignored(signals: impl IntoIterator<Item = i32>) -> impl Iterator<Item = i32> {
        let ignored = ignored();
        let signals = signals.into_iter();
        signals.filter(move |signal| ignored & (1 << (signal - 1)) == 0)
    }

    /// The mask of ignored signals, the first in the lowest bit. Empty if the system does not tell (`proc_pid_status(5)`).
    fn ignored() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    }

    fn take_notice() -> Option<&'static str> {
        NOTICE.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn flags() -> Option<&'static SignalFlags> {
        FLAGS.get_or_init(|| SignalFlags::new().ok()).as_ref()
    }

    // === impl SignalFlags ===

    impl SignalFlags {
        fn new() -> io::Result<Self> {
            let flags = Self::default();
            for signal in not_ignored(TERMINATING) {
                // In this order a signal that comes meanwhile is not lost.
                flag::register_usize(signal, Arc::clone(&flags.pending), usize::try_from(signal).unwrap_or(0))?;
                flag::register_conditional_default(signal, Arc::clone(&flags.ends))?;
            }
            Ok(flags)
        }
    }

    // === impl SignalNotice ===

    impl SignalNotice {
        /// Where another module handles signals, that tells what there is to tell.
        pub(crate) fn new(text: &'static str) -> Self {
            *NOTICE.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
            let is_left_to_others = matches!(FLAGS.get(), Some(None));
            if !is_left_to_others && !IS_HANDLED.load(Ordering::SeqCst) {
                // Where it fails, a signal ends the process without a word.
                let _ = on_terminating_signal(|| ());
            }
            Self(())
        }
    }

    impl Drop for SignalNotice {
        fn drop(&mut self) {
            take_notice();
        }
    }

    // === impl SignalHold ===

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
            let Some(flags) = flags().filter(|_| !IS_HANDLED.load(Ordering::SeqCst)) else {
                return;
            };
            flags.ends.store(true, Ordering::SeqCst);
            let pending = flags.pending.swap(0, Ordering::SeqCst);
            if let Some(signal) = i32::try_from(pending).ok().filter(|signal| *signal != 0) {
                let _ = low_level::emulate_default_handler(signal);
            }
        }
    }
}

/// Other systems have no such signals.
#[cfg(not(unix))]
mod elsewhere {
    use std::io;

    pub(crate) fn on_terminating_signal(_last: impl FnOnce()) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
        Ok(())
    }

    #[derive(Debug)]
    pub(crate) struct SignalNotice;

    impl SignalNotice {
        pub(crate) fn new(_text: &'static str) -> Self {
            Self
        }
    }

    #[derive(Debug)]
    pub(crate) struct SignalHold;

    impl SignalHold {
        pub(crate) fn new() -> Self {
            Self
        }
    }
}
