//! Why a caller gets nothing, and what they can do about it.

use std::num::NonZeroU32;

use thiserror::Error;

use crate::rule::RuleError;
use crate::{Period, RoleName, RuleSelector};

/// Why a caller is refused, in the order in which the reasons are looked for.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The request came from the public internet, through Tailscale Funnel.
    #[error("requests through Tailscale Funnel are refused")]
    Funnel,
    /// The key of the caller's device has expired: its owner is not proven any more.
    #[error("the key of the device {device} has expired")]
    DeviceExpired {
        /// The device's name.
        device: String,
    },
    /// The caller is a tagged node, and machines may not sign in here.
    #[error("the device {device} is a tagged node ({}), and tagged nodes may not sign in", tags.join(", "))]
    Machine {
        /// The device's name.
        device: String,
        /// Its tags.
        tags: Vec<String>,
    },
    /// A value of the capability is no rule.
    #[error("a rule of the tailnet policy that reaches you is malformed")]
    MalformedRule(#[source] RuleError),
    /// No rule reaches the caller.
    #[error("no rule of the tailnet policy reaches you")]
    NoRule,
    /// Several rules share the highest priority.
    #[error(
        "several rules of the tailnet policy reach you with the same priority {priority}: {}",
        rules.join(", ")
    )]
    Ambiguous {
        /// The priority they share.
        priority: i64,
        /// The rules, in words.
        rules: Vec<String>,
        /// What each of those is chosen by that can be chosen.
        options: Vec<RuleSelector>,
        /// Those that nothing tells apart that a caller can say, in words.
        alike: Vec<String>,
    },
    /// The caller named a rule that does not reach them.
    #[error("no rule that applies to you has that name or role")]
    NoSuchRule {
        /// Those that reach them: names, or roles where they have none.
        rules: Vec<String>,
    },
    /// The rule asks for a reason, and the caller gave none.
    #[error("the rule for the role {role} requires a reason")]
    ReasonRequired {
        /// The rule's role.
        role: RoleName,
    },
    /// The rule gives no tokens.
    #[error("the rule for the role {role} gives access through the gateway alone, and no token")]
    GatewayOnly {
        /// The rule's role.
        role: RoleName,
    },
    /// The rule gives access with tokens alone.
    #[error("the rule for the role {role} gives access with a token alone, and not through the gateway")]
    DirectOnly {
        /// The rule's role.
        role: RoleName,
    },
    /// The rule gives access through the gateway alone, and this server has none.
    #[error("the rule for the role {role} gives access through the gateway alone, and this server has none")]
    NoGateway {
        /// The rule's role.
        role: RoleName,
    },
    /// A token of an elevation is asked for.
    #[error("an elevation acts through the gateway alone, and has no token")]
    ElevationToken,
    /// The caller asked for more time than the rule gives.
    #[error("you asked for {requested}, more than the {period} that the rule for the role {role} gives")]
    PeriodTooLong {
        /// The rule's role.
        role: RoleName,
        /// What the caller asked for.
        requested: Period,
        /// What the rule gives.
        period: Period,
    },
    /// The caller has as many sessions through the rule as it allows.
    #[error("you have reached the limit of {max_sessions} sessions of the rule for the role {role}")]
    TooManySessions {
        /// The rule's role.
        role: RoleName,
        /// How many it allows.
        max_sessions: NonZeroU32,
    },
    /// The device has as many sessions as this server lets one have, whatever its rules say.
    #[error("this device has reached the limit of {max} sessions of this server")]
    TooManyOnDevice {
        /// How many it lets one have.
        max: NonZeroU32,
    },
    /// With the session the device would have more bindings than this server lets one have, whatever its rules say.
    #[error("with this session this device would exceed the limit of {max} role bindings of this server")]
    TooManyBindings {
        /// How many it lets one have.
        max: NonZeroU32,
    },
    /// As many sign-ins of the caller wait for approval as this server lets wait.
    #[error("{max} of your sign-ins wait for approval already, as many as this server lets wait")]
    TooManyWaiting {
        /// How many it lets wait.
        max: usize,
    },
    /// The caller's user asked others for so much approval that they are asked no more for a while.
    #[error("you asked others for approval too often")]
    AskedTooOften {
        /// After how many seconds they may be asked again.
        retry_after: u32,
    },
    /// The rule's period is below what this server is configured to give.
    #[error("a session of {period} with the role {role} is shorter than the minimum of this server, {min_period}")]
    PeriodTooShort {
        /// The rule's role.
        role: RoleName,
        /// The rule's period.
        period: Period,
        /// The server's shortest period.
        min_period: Period,
    },
}

/// The command that chooses so.
fn command(choice: &RuleSelector) -> String {
    let name = choice.name.as_ref().map(|name| format!(" --rule {name}"));
    let role = choice.role.as_ref().map(|role| format!(" --role {role}"));
    format!("`tka login{}{}`", name.unwrap_or_default(), role.unwrap_or_default())
}

fn to_choose(options: &[RuleSelector], alike: &[String]) -> Vec<String> {
    let commands: Vec<_> = options.iter().map(command).collect();
    let choose = (!options.is_empty()).then(|| format!("say which one you mean: {}", commands.join(", ")));
    let administrator = if alike.is_empty() {
        "or ask an administrator of the tailnet to give these rules different priorities".into()
    } else {
        format!(
            "ask an administrator of the tailnet to give each of these a `name` or a priority of its own, because `role` and `name` do \
             not tell them apart: {}",
            alike.join("; ")
        )
    };
    choose.into_iter().chain([administrator]).collect()
}

// === impl Refusal ===

impl From<RuleError> for Refusal {
    fn from(error: RuleError) -> Self {
        Self::MalformedRule(error)
    }
}

impl Refusal {
    /// All kinds.
    pub const KINDS: [&'static str; 19] = [
        "Funnel",
        "DeviceExpired",
        "Machine",
        "MalformedRule",
        "NoRule",
        "Ambiguous",
        "NoSuchRule",
        "GatewayOnly",
        "DirectOnly",
        "NoGateway",
        "ElevationToken",
        "ReasonRequired",
        "PeriodTooLong",
        "TooManySessions",
        "TooManyOnDevice",
        "TooManyBindings",
        "TooManyWaiting",
        "AskedTooOften",
        "PeriodTooShort",
    ];

    /// Stable name of the kind, for metrics and traces: it says nothing of the caller.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Funnel => "Funnel",
            Self::DeviceExpired { .. } => "DeviceExpired",
            Self::Machine { .. } => "Machine",
            Self::MalformedRule(_) => "MalformedRule",
            Self::NoRule => "NoRule",
            Self::Ambiguous { .. } => "Ambiguous",
            Self::NoSuchRule { .. } => "NoSuchRule",
            Self::GatewayOnly { .. } => "GatewayOnly",
            Self::DirectOnly { .. } => "DirectOnly",
            Self::NoGateway { .. } => "NoGateway",
            Self::ElevationToken => "ElevationToken",
            Self::ReasonRequired { .. } => "ReasonRequired",
            Self::PeriodTooLong { .. } => "PeriodTooLong",
            Self::TooManySessions { .. } => "TooManySessions",
            Self::TooManyOnDevice { .. } => "TooManyOnDevice",
            Self::TooManyBindings { .. } => "TooManyBindings",
            Self::TooManyWaiting { .. } => "TooManyWaiting",
            Self::AskedTooOften { .. } => "AskedTooOften",
            Self::PeriodTooShort { .. } => "PeriodTooShort",
        }
    }

    /// What the caller can do about it, a sentence each.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        match self {
            Self::Funnel => vec!["connect over the tailnet: this server is not for the public internet".into()],
            Self::DeviceExpired { .. } => {
                vec!["prove that the device is yours: `tailscale up --force-reauth`, or have its key renewed".into()]
            }
            Self::Machine { .. } => vec![
                "sign in from a device that belongs to a person".into(),
                "or ask an administrator whether this server may serve tagged nodes".into(),
            ],
            Self::MalformedRule(_) => {
                vec!["ask an administrator of the tailnet to correct the rule: it has `role`, `period`, and perhaps `priority`, `name`, `namespaces`, `require_reason`, `max_sessions`, `access`".into()]
            }
            Self::NoRule => vec![
                "ask an administrator of the tailnet for a grant with this server's capability that reaches you"
                    .into(),
                "check with `tailscale status` that you are signed in to the tailnet as the account you mean".into(),
            ],
            Self::Ambiguous { options, alike, .. } => to_choose(options, alike),
            Self::NoSuchRule { rules } => vec![format!(
                "ask for one of these, which `tka rules` shows: {}",
                rules.join(", ")
            )],
            Self::ReasonRequired { .. } => vec!["give a reason: `tka login --reason \"…\"`".into()],
            Self::GatewayOnly { .. } => vec![
                "sign in with `tka login`, without `--token` and `--via direct`: it writes the gateway's address into the kubeconfig".into(),
                "or use a kubeconfig with the server's address below /k8s, and without a token: `tka kubeconfig --static` prints one"
                    .into(),
            ],
            Self::DirectOnly { .. } => vec!["use the kubeconfig that `tka login --via direct` writes".into()],
            Self::NoGateway { .. } => vec![
                "ask an administrator to set the server's gateway.enabled, or to correct the rule's `access`".into(),
            ],
            Self::ElevationToken => vec![
                "use a kubeconfig that goes through the gateway and names no rule".into(),
                "or sign in with `tka login --rule NAME`, which gives a token where the rule lets one be had".into(),
            ],
            Self::PeriodTooLong { period, .. } => vec![format!("ask for {period} or less, or leave it to the rule")],
            Self::TooManySessions { .. } => {
                vec!["sign out on a device or in a shell where you no longer need the access".into()]
            }
            Self::TooManyOnDevice { .. } => vec![
                "look with `tka sessions` for those that are not needed any more, and end them: `tka sessions end NAME`"
                    .into(),
                "or ask an administrator to raise the server's operator.maxSessionsPerDevice".into(),
            ],
            Self::TooManyBindings { .. } => vec![
                "a session has one binding, or one in each namespace that its rule names; end those that are not needed any more: `tka sessions`, `tka sessions end NAME`"
                    .into(),
                "or sign in through a rule that names fewer namespaces".into(),
                "or ask an administrator to raise the server's operator.maxBindingsPerDevice".into(),
            ],
            Self::TooManyWaiting { .. } => vec![
                "look with `tka approvals` for those that you need no more, and withdraw them: `tka approvals withdraw NAME`"
                    .into(),
                "or wait until others have decided about them".into(),
            ],
            Self::AskedTooOften { retry_after } => vec![
                format!("ask again in {retry_after} seconds"),
                "or talk to those who decide: `tka approvals` shows what waits already".into(),
            ],
            Self::PeriodTooShort { min_period, .. } => vec![
                format!(
                    "ask for at least {min_period}, or ask an administrator of the tailnet for a rule that gives as much"
                ),
                "or ask an administrator to lower the server's operator.minPeriod".into(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_the_name_of_the_variant_and_one_of_all() {
        let max = NonZeroU32::MIN;
        for refusal in [Refusal::Funnel, Refusal::NoRule, Refusal::TooManyOnDevice { max }] {
            let debug = format!("{refusal:?}");
            assert!(debug.starts_with(refusal.kind()), "{debug}");
            assert!(Refusal::KINDS.contains(&refusal.kind()));
        }
    }

    #[test]
    fn says_what_and_what_to_do() {
        let refusal = Refusal::Ambiguous {
            priority: 5,
            rules: vec!["edit for 1h0m0s".into(), "view for 1h0m0s".into()],
            options: vec![],
            alike: vec![],
        };
        let what = "several rules of the tailnet policy reach you with the same priority 5";
        assert_eq!(refusal.to_string(), format!("{what}: edit for 1h0m0s, view for 1h0m0s"));
        assert!(!refusal.advice().is_empty());
    }
}
