//! `/swagger/` and the document behind it.

use e2e::user::ALICE;
use e2e::{Caller, Outcome, World, rule};

crate::tests![api_browser_finds_all_it_needs_at_both_places];

fn api_browser_finds_all_it_needs_at_both_places(world: &World) -> Outcome {
    let site = world.site("swagger")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for folder in ["/swagger/", "/api/v1alpha1/swagger/"] {
        let page = read(&alice, folder)?;
        let scripts: Vec<_> = page
            .split("src=\"./")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(scripts.len() >= 3, "{page}");
        for script in &scripts {
            read(&alice, &format!("{folder}{script}"))?;
        }
        let settings = read(&alice, &format!("{folder}swagger-initializer.js"))?;
        let document = settings.split('"').find(|text| text.ends_with("openapi.json"));
        describes_the_contract(&alice, document.ok_or("the browser is told of no document")?)?;
    }
    describes_the_contract(&alice, "/openapi.json")
}

fn describes_the_contract(alice: &Caller, document: &str) -> Outcome {
    let document = alice.send_body("GET", document, &[], &[])?.expect(200)?.json()?;
    for (path, method) in [
        ("login", "post"),
        ("login", "get"),
        ("kubeconfig", "get"),
        ("logout", "post"),
        ("cluster-info", "get"),
    ] {
        let operation = &document["paths"][format!("/api/v1alpha1/{path}")][method];
        assert!(operation["responses"].is_object(), "{method} {path} is not described");
    }
    Ok(())
}

fn read(alice: &Caller, path: &str) -> Outcome<String> {
    Ok(alice.send_body("GET", path, &[], &[])?.expect(200)?.body)
}
