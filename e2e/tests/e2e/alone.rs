//! What runs one at a time, after all others. Parts of the cluster and the tailnet are killed and started again, which all other tests would
//! notice. Some tests count seconds, and the machine must not be busy with something else.

use e2e::faults::trouble;
use e2e::{Outcome, World};

use crate::outages::is_good;
use crate::{cli, guard, policy};

crate::tests![
    costly_binding_of_others_is_left_alone,
    fifty_kubectl_at_once_share_one_credential_and_one_error,
    session_that_ends_while_its_server_is_dead_goes_at_its_start,
    session_outlives_etcd_and_another_ends_on_time,
    session_outlives_the_api_server_and_another_ends_on_time,
    session_outlives_tailscaled_and_another_ends_on_time,
    policy_who_and_the_server_do_not_disagree,
];

fn policy_who_and_the_server_do_not_disagree(world: &World) -> Outcome {
    policy::who_and_the_server_do_not_disagree(world)
}

fn costly_binding_of_others_is_left_alone(world: &World) -> Outcome {
    guard::costly_binding_is_left_alone(world)
}

/// Fifty kubectl fill a machine by themselves. Beside other tests the server takes longer to answer than a call waits that has a credential.
fn fifty_kubectl_at_once_share_one_credential_and_one_error(world: &World) -> Outcome {
    cli::fifty_kubectl_share_one_credential(world)
}

fn session_that_ends_while_its_server_is_dead_goes_at_its_start(world: &World) -> Outcome {
    is_good(&trouble::server_dead(world, "dead-server")?);
    Ok(())
}

fn session_outlives_etcd_and_another_ends_on_time(world: &World) -> Outcome {
    is_good(&trouble::part_restarted(world, "etcd")?);
    Ok(())
}

fn session_outlives_the_api_server_and_another_ends_on_time(world: &World) -> Outcome {
    is_good(&trouble::part_restarted(world, "kube-apiserver")?);
    Ok(())
}

fn session_outlives_tailscaled_and_another_ends_on_time(world: &World) -> Outcome {
    is_good(&trouble::part_restarted(world, "node-tka")?);
    Ok(())
}
