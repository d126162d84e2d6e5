//! Sessions end at their end.

use std::time::Duration;

use e2e::user::ALICE;
use e2e::{Outcome, Site, World, brief, is_refused, rule, wait};
use jiff::Timestamp;

crate::tests![
    session_ends_by_itself_and_its_credential_with_it,
    extended_session_ends_at_its_new_end,
];

/// How late the end of a session may be, by what is promised.
const PROMPT: Duration = Duration::from_secs(2);

/// Waits until nothing of any session is left, and sees that this was not before `until`, nor long after.
pub(crate) fn ends_at(site: &Site<'_>, until: Timestamp) -> Outcome {
    site.wait_empty()?;
    let now = Timestamp::now();
    assert!(until <= now, "it was to end at {until}, and was gone at {now}");
    wait::within(PROMPT, "a session is gone after its end", wait::since(until))
}

fn session_ends_by_itself_and_its_credential_with_it(world: &World) -> Outcome {
    let site = world.site("expiry")?;
    let alice = site.caller("ALICE")?;
    let status = |token: &str| world.cluster.status(token, "GET", "/api/v1/pods");
    let grant = |period: &str| site.grant(&[(ALICE, rule("view", period))]);
    let (token, until) = brief::in_time(grant, || {
        let until = alice.sign_in()?.until;
        let token = alice.token()?;
        assert_eq!(status(&token)?, 200);
        let counts = site.counts()?;
        Ok(((token, until, counts), until))
    })
    .map(|(token, until, counts)| {
        assert_eq!(counts, [1, 1, 1]);
        (token, until)
    })?;
    ends_at(&site, until)?;
    assert!(is_refused(status(&token)?));
    alice.get("/login")?.expect(401)?;
    alice.get("/kubeconfig")?.expect(401)?;
    Ok(())
}

fn extended_session_ends_at_its_new_end(world: &World) -> Outcome {
    let site = world.site("extension")?;
    let alice = site.caller("ALICE")?;
    let status = |token: &str| world.cluster.status(token, "GET", "/api/v1/pods");
    let grant = |period: &str| site.grant(&[(ALICE, rule("view", period))]);
    let (token, second) = brief::in_time(grant, || {
        let (requested_at, first) = (Timestamp::now(), alice.sign_in()?.until);
        let token = alice.token()?;
        wait::until_time(requested_at + first.duration_since(requested_at) / 2)?;
        let second = alice.sign_in()?.until;
        let extended = Timestamp::now();
        wait::until_time(first + Duration::from_secs(1))?;
        let past_the_first_end = status(&token)?;
        // In time only if the extension was, and what came after it too.
        let deadline = if extended < first { second } else { first };
        Ok(((token, first, second, past_the_first_end), deadline))
    })
    .map(|(token, first, second, past_the_first_end)| {
        assert!(second > first);
        assert_eq!(past_the_first_end, 200);
        (token, second)
    })?;
    ends_at(&site, second)?;
    assert!(is_refused(status(&token)?));
    Ok(())
}
