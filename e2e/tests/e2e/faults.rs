//! A server is killed at every single request that it makes of the API server, and started again. Exactly the sessions that
//! should be are there afterwards.

use e2e::faults::{Cuts, Operation, enough_reached, races};
use e2e::{Outcome, World};

crate::tests![
    kill_at_any_request_of_a_sign_in_leaves_all_of_it_or_nothing,
    kill_in_a_sign_in_to_namespaces_leaves_all_or_nothing,
    kill_at_any_request_of_an_extension_loses_no_session,
    kill_in_a_sign_out_leaves_all_or_nothing,
    kill_at_any_request_of_an_expiry_leaves_nothing,
    kill_at_any_request_of_a_revocation_leaves_nothing,
    kill_at_any_request_of_a_completion_leaves_all_of_it,
    kill_at_any_request_of_a_first_use_leaves_all_or_nothing,
    kill_in_a_sign_out_lets_use_begin_nothing,
    kill_at_any_request_of_an_approval_leaves_all_or_nothing,
    kill_in_an_approved_extension_loses_no_session,
    kill_at_any_request_of_a_denial_gives_nothing,
    kill_in_an_emergency_leaves_no_session_without_its_alarm,
    two_decisions_at_once_come_to_what_one_order_gives,
];

fn kill_at_any_request_of_a_sign_in_leaves_all_of_it_or_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::SignIn)
}

fn kill_in_a_sign_in_to_namespaces_leaves_all_or_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::SignInNamespaces)
}

fn kill_at_any_request_of_an_extension_loses_no_session(world: &World) -> Outcome {
    kill_everywhere(world, Operation::Extension)
}

fn kill_in_a_sign_out_leaves_all_or_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::SignOut)
}

fn kill_at_any_request_of_an_expiry_leaves_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::Expiry)
}

fn kill_at_any_request_of_a_revocation_leaves_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::Revocation)
}

fn kill_at_any_request_of_a_completion_leaves_all_of_it(world: &World) -> Outcome {
    kill_everywhere(world, Operation::Completion)
}

fn kill_at_any_request_of_a_first_use_leaves_all_or_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::FirstUse)
}

fn kill_in_a_sign_out_lets_use_begin_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::UsedSignOut)
}

fn kill_at_any_request_of_an_approval_leaves_all_or_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::Approval)
}

fn kill_in_an_approved_extension_loses_no_session(world: &World) -> Outcome {
    kill_everywhere(world, Operation::ApprovedExtension)
}

fn kill_at_any_request_of_a_denial_gives_nothing(world: &World) -> Outcome {
    kill_everywhere(world, Operation::Denial)
}

fn kill_in_an_emergency_leaves_no_session_without_its_alarm(world: &World) -> Outcome {
    kill_everywhere(world, Operation::BreakGlass)
}

fn two_decisions_at_once_come_to_what_one_order_gives(world: &World) -> Outcome {
    for trouble in races(world, "decisions", 3)? {
        eprintln!("{trouble}");
        assert!(trouble.leaked.is_empty() && trouble.lost.is_empty(), "{trouble}");
    }
    Ok(())
}

fn kill_everywhere(world: &World, operation: Operation) -> Outcome {
    let cuts = Cuts::new(world, &format!("kill-{}", operation.site()), operation)?;
    let points = cuts.points(true)?;
    assert!(points.len() >= 8, "few requests were seen: {points:?}");
    let mut findings = Vec::new();
    for point in &points {
        let finding = cuts.cut(point)?;
        assert!(finding.is_good(), "{finding:#?}");
        findings.push(finding);
    }
    enough_reached(&findings)
}
