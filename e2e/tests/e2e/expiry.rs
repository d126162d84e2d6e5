//! Sessions end at their end.

use std::time::Duration;

use e2e::user::ALICE;
use e2e::{Outcome, Site, World, is_refused, rule, wait};
use jiff::Timestamp;

crate::tests![
    session_ends_by_itself_and_its_credential_with_it,
    signing_in_again_extends_the_session_and_it_ends_at_its_new_end,
];

/// How late the end of a session may be.
const PROMPT: Duration = Duration::from_secs(2);

/// Waits until nothing of any session is left, and sees that this was neither before `until` nor long after.
pub(crate) fn ends_at(site: &Site<'_>, until: Timestamp) -> Outcome {
    site.wait_empty()?;
    let now = Timestamp::now();
    assert!(
        until <= now && now <= until + PROMPT,
        "it was to end at {until}, and was gone at {now}"
    );
    Ok(())
}

fn session_ends_by_itself_and_its_credential_with_it(world: &World) -> Outcome {
    let site = world.site("expiry")?;
    site.grant(&[(ALICE, rule("view", "4s"))])?;
    let alice = site.caller("ALICE")?;
    let until = alice.sign_in()?.until;
    let token = alice.token()?;
    let status = || world.cluster.status(&token, "GET", "/api/v1/pods");
    assert_eq!(status()?, 200);
    assert_eq!(site.counts()?, [1, 1, 1]);
    ends_at(&site, until)?;
    assert!(is_refused(status()?));
    alice.get("/login")?.expect(401)?;
    alice.get("/kubeconfig")?.expect(401)?;
    Ok(())
}

fn signing_in_again_extends_the_session_and_it_ends_at_its_new_end(world: &World) -> Outcome {
    let site = world.site("extension")?;
    site.grant(&[(ALICE, rule("view", "6s"))])?;
    let alice = site.caller("ALICE")?;
    let first = alice.sign_in()?.until;
    let token = alice.token()?;
    wait::until_time(first - Duration::from_secs(3))?;
    let second = alice.sign_in()?.until;
    assert!(second > first);
    assert_eq!(site.counts()?, [1, 1, 1]);

    wait::until_time(first + Duration::from_secs(1))?;
    assert_eq!(
        world.cluster.status(&token, "GET", "/api/v1/pods")?,
        200,
        "past the first end"
    );
    ends_at(&site, second)?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/pods")?));
    Ok(())
}
