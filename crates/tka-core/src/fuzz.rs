//! Fuzz targets: what the tailnet policy says and what people and devices are called, byte by byte. `cargo xtask fuzz` runs these and those of the other crates for long.

use std::collections::HashMap;

use bolero::check;

use crate::rule::is_dns_label;
use crate::{Caller, Choice, Device, Grant, Identity, Period, Rule, SessionLabel, SessionName, UserId};

/// Lines are values of the capability.
#[test]
fn grant() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let values: Vec<&str> = text.lines().collect();
        let Ok(grant) = Grant::parse(values.iter().copied()) else {
            return;
        };
        let reversed = Grant::parse(values.into_iter().rev());
        assert_eq!(reversed.as_ref(), Ok(&grant), "the order decides something");
        if let Ok(chosen) = grant.choose(&Choice::default()) {
            assert!(grant.carries(&chosen.key()));
            assert!(grant.rules().iter().all(|rule| rule.priority <= chosen.priority));
        }
    });
}

#[test]
fn period() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(period) = text.parse::<Period>() {
            assert_eq!(period.to_string().parse(), Ok(period));
        }
    });
}

/// Lines are login names, and what else goes into a session's name. Every one is a name that Kubernetes takes, and no two are the same.
#[test]
fn names() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let mut named = HashMap::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, '\t').map(ToOwned::to_owned);
            let (login_name, stable_id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let label = parts.next().and_then(|label| SessionLabel::try_from(label).ok());
            let key = (login_name.clone(), stable_id.clone(), label.clone());
            let name = name(login_name, stable_id, label.as_ref());
            assert!(is_dns_label(name.as_str()), "{name}");
            let other = named.insert(name, key.clone());
            assert!(other.is_none_or(|other| other == key));
        }
    });
}

fn name(login_name: String, stable_id: String, label: Option<&SessionLabel>) -> SessionName {
    let caller = Caller {
        identity: Identity::User {
            id: UserId(1),
            login_name,
        },
        device: Device {
            stable_id,
            name: String::new(),
        },
    };
    let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
    SessionName::new(&caller, &rule.key(), label)
}
