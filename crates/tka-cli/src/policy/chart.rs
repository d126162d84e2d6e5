//! The roles that the chart lists, as its values have them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use tka_policy::Roles;

use super::{PolicyError, file};

/// The values that matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Values {
    roles: Option<BTreeSet<String>>,
    namespaced_roles: Option<Vec<NamespacedRole>>,
}

#[derive(Debug, Deserialize)]
struct NamespacedRole {
    role: String,
    namespaces: BTreeSet<String>,
}

/// Reads the roles from a file with values of the chart.
pub(crate) fn roles(path: &Path) -> Result<Roles, PolicyError> {
    let text = file::text(path)?;
    parse(&text).map_err(|source| PolicyError::Values {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn parse(text: &str) -> Result<Roles, serde_saphyr::Error> {
    // An empty file is one without values.
    let values: Option<Values> = serde_saphyr::from_str(text)?;
    let Values {
        roles,
        namespaced_roles,
    } = values.unwrap_or_default();
    let mut in_namespaces: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for listed in namespaced_roles.unwrap_or_default() {
        in_namespaces.entry(listed.role).or_default().extend(listed.namespaces);
    }
    Ok(Roles {
        anywhere: roles.unwrap_or_default(),
        in_namespaces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_chart_are_read() {
        let text = "roles: [view]\nnamespacedRoles:\n- role: edit\n  namespaces: [shop]\n- {role: edit, namespaces: [web]}\nserver: {enabled: true}\n";
        let roles = parse(text).unwrap();
        assert_eq!(roles.anywhere.iter().collect::<Vec<_>>(), ["view"]);
        assert_eq!(roles.in_namespaces["edit"].iter().collect::<Vec<_>>(), ["shop", "web"]);
        assert_eq!(parse("roles: []\nnamespacedRoles:\n").unwrap(), Roles::default());
        assert!(parse("roles: view").is_err());
        assert!(parse(include_str!("../../../../charts/tka/values.yaml")).is_ok());
    }
}
