//! Prints the CustomResourceDefinition of `TkaSignin` as YAML. `cargo xtask crd` writes it into the Helm chart.

use std::io::{Write, stdout};
use std::process::ExitCode;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion;
use kube::{CustomResourceExt, ResourceExt};
use tka_api::resource::TkaSignin;

fn main() -> ExitCode {
    let mut crd = TkaSignin::crd();
    // What the API server would fill in, so that what is installed is what was rendered.
    crd.spec.names.list_kind = Some(format!("{}List", crd.spec.names.kind));
    crd.spec.conversion = Some(CustomResourceConversion {
        strategy: "None".into(),
        ..CustomResourceConversion::default()
    });
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
