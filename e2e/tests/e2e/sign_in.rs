//! `/login` and `/logout`, row by row of the contract.

use std::time::Duration;

use e2e::user::ALICE;
use e2e::wire::Login;
use e2e::{Outcome, World, rule};
use jiff::Timestamp;

crate::tests![
    post_login_answers_202_with_who_what_and_until_and_no_more,
    get_login_answers_the_body_of_post_login,
    post_logout_answers_the_body_of_login_and_then_404,
    device_is_not_signed_in_before_signing_in,
];

fn post_login_answers_202_with_who_what_and_until_and_no_more(world: &World) -> Outcome {
    let site = world.site("sign-in")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let before = Timestamp::from_second(Timestamp::now().as_second())?;
    let answer = site.caller("ALICE")?.post("/login")?.expect(202)?;
    let after = Timestamp::now();

    assert_eq!(answer.header("content-type"), Some("application/json"));
    let until = answer.decode::<Login>()?.until;
    // Byte for byte, and so is the time: RFC 3339 in whole seconds, as `metav1.Time` is written.
    let expected = format!(r#"{{"username":"{ALICE}","role":"view","until":"{until}"}}"#);
    assert_eq!(answer.body, expected);
    let hour = Duration::from_hours(1);
    assert!(before + hour <= until && until <= after + hour, "{until}");
    Ok(())
}

fn get_login_answers_the_body_of_post_login(world: &World) -> Outcome {
    let site = world.site("get-login")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let signed_in = alice.post("/login")?.expect(202)?;
    assert_eq!(alice.get("/login")?.expect(200)?.body, signed_in.body);
    Ok(())
}

fn post_logout_answers_the_body_of_login_and_then_404(world: &World) -> Outcome {
    let site = world.site("logout")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let signed_in = alice.post("/login")?.expect(202)?;
    assert_eq!(alice.post("/logout")?.expect(200)?.body, signed_in.body);
    alice.post("/logout")?.expect(404)?.refusal()?;
    alice.get("/login")?.expect(401)?.refusal()?;
    alice.get("/kubeconfig")?.expect(401)?.refusal()?;
    Ok(())
}

fn device_is_not_signed_in_before_signing_in(world: &World) -> Outcome {
    let site = world.site("signed-out")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for (method, path, status) in [
        ("GET", "/login", 401),
        ("GET", "/kubeconfig", 401),
        ("POST", "/logout", 404),
    ] {
        let refusal = alice.send(method, path, &[])?.expect(status)?.refusal()?;
        assert!(refusal.message.contains("not signed in"), "{refusal:?}");
    }
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}
