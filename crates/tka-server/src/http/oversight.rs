//! `/oversight`: what is others', for callers with oversight. To all others nothing is there.

pub(super) mod audit;
pub(super) mod sessions;

/// Whether the device with that ID and name is the one that is asked for: by ID, by name, or by the name's first label.
fn is_device(asked: &str, stable_id: &str, name: &str) -> bool {
    let short = name.split('.').next().unwrap_or_default();
    [stable_id, name, short]
        .iter()
        .any(|called| !called.is_empty() && *called == asked)
}

#[cfg(test)]
mod tests {
    use super::is_device;

    #[test]
    fn device_is_called_by_its_id_or_its_name() {
        let is = |asked| is_device(asked, "n1CNTRL", "laptop.example.ts.net");
        assert!(is("n1CNTRL") && is("laptop.example.ts.net") && is("laptop"));
        for other in ["", "lap", "laptop.example", "n1cntrl", "example"] {
            assert!(!is(other), "{other}");
        }
        assert!(!is_device("", "", ""));
    }
}
