//! Prints the CustomResourceDefinition of `TkaSignin` as YAML. `cargo xtask crd` writes it into the Helm chart.

use std::io::{Write, stdout};
use std::process::ExitCode;

use kube::{CustomResourceExt, ResourceExt};
use tka_api::resource::TkaSignin;

fn main() -> ExitCode {
    let mut crd = TkaSignin::crd();
    // Uninstalling the chart must not take the sessions, and who is in right now, with it.
    crd.annotations_mut()
        .insert("helm.sh/resource-policy".into(), "keep".into());
    let yaml = match serde_saphyr::to_string(&crd) {
        Ok(yaml) => yaml,
        Err(error) => {
            eprintln!("the CustomResourceDefinition does not serialize: {error}");
            return ExitCode::FAILURE;
        }
    };
    match stdout().write_all(yaml.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
