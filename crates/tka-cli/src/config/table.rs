//! The keys of configuration files.

/// Whether the `config.yaml` of the working directory may set a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CwdPolicy {
    /// It may: the key only changes how results look.
    Allowed,
    /// It may not: the key selects a server, or what is written, run or printed.
    Refused,
}

/// Every key of configuration files, and whether the working directory's file may set it.
pub(super) const TABLE: [(&str, CwdPolicy); 12] = [
    ("tailscale.hostname", CwdPolicy::Refused),
    ("tailscale.port", CwdPolicy::Refused),
    ("tailscale.tailnet", CwdPolicy::Refused),
    ("tailscale.socket", CwdPolicy::Refused),
    ("tailscale.proxy", CwdPolicy::Refused),
    ("tailscale.tag", CwdPolicy::Refused),
    ("kubeconfig.merge", CwdPolicy::Refused),
    ("credential.login", CwdPolicy::Refused),
    ("output.theme", CwdPolicy::Allowed),
    ("output.long", CwdPolicy::Allowed),
    ("output.quiet", CwdPolicy::Refused),
    ("debug", CwdPolicy::Refused),
];

/// Every key of configuration files.
pub(crate) const KEYS: [&str; TABLE.len()] = {
    let mut keys = [""; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        keys[at] = TABLE[at].0;
        at += 1;
    }
    keys
};
