//! The LocalAPI client, against real tailscaleds.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use e2e::user::{ALICE, CAROL};
use e2e::{Caller, Outcome, World};
use serde_json::json;
use testbed::Owner;
use tka_tailnet::{BackendState, Error, LocalApi, Status, WhoIs};
use tokio::runtime::Builder;

crate::tests![
    status_of_a_node_on_the_tailnet_has_its_own_names,
    whois_of_a_connection_over_the_tailnet_is_its_caller,
    whois_of_a_connection_beside_the_tailnet_is_not_found,
    node_that_is_turned_off_or_signed_out_is_not_running,
    socket_without_a_tailscaled_is_said_to_be_that,
];

fn status(socket: &Path) -> Outcome<Result<Status, Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(LocalApi::new(socket).status()))
}

fn whois(socket: &Path, peer: SocketAddr) -> Outcome<Result<WhoIs, Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(LocalApi::new(socket).whois(peer)))
}

fn status_of_a_node_on_the_tailnet_has_its_own_names(world: &World) -> Outcome {
    let node = world.testbed.node("TKA")?;
    let status = status(node.socket())??;
    assert_eq!(status.backend_state, BackendState::Running);
    assert!(!status.tun, "it runs in userspace");
    let own = status.require_running()?;
    assert_eq!((&*own.dns_name, own.online), ("tka.tailnet.test", true));
    assert_eq!(own.tags, ["tag:tka"]);
    let addresses: Vec<_> = own.tailscale_ips.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, node.addresses());
    Ok(())
}

fn whois_of_a_connection_over_the_tailnet_is_its_caller(world: &World) -> Outcome {
    let server = world.testbed.node("TKA")?;
    let capability = "tailnet.test/cap/whois";
    let grants = json!([{"src": [ALICE], "rules": [{"any": "value"}]}]);
    world.testbed.set_grants(capability, grants)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    for (node, login_name, granted) in [("ALICE", ALICE, 1), ("CAROL", CAROL, 0)] {
        let url = format!("http://tka.tailnet.test:{port}");
        let caller = Caller::on(&world.testbed.node(node)?, &url, &world.tokens)?;
        // Lasts as long as the question, because tailscaled forgets who it was.
        let _connection = caller.tunnel()?;
        let (_accepted, peer) = listener.accept()?;
        let whois = whois(server.socket(), peer)??;
        assert_eq!(whois.user_profile.login_name, login_name);
        assert_eq!(whois.node.name, format!("{}.tailnet.test", node.to_lowercase()));
        assert!(!whois.node.is_tagged());
        assert_eq!(whois.capability(capability).len(), granted, "{login_name}");
    }
    Ok(())
}

fn whois_of_a_connection_beside_the_tailnet_is_not_found(world: &World) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _connection = TcpStream::connect(listener.local_addr()?)?;
    let (_accepted, peer) = listener.accept()?;
    let whois = whois(world.testbed.node("TKA")?.socket(), peer)?;
    assert!(
        matches!(whois, Err(Error::NotFound { addr }) if addr == peer),
        "{whois:?}"
    );
    Ok(())
}

fn node_that_is_turned_off_or_signed_out_is_not_running(world: &World) -> Outcome {
    let node = world.guest("carol-phone", &Owner::user(CAROL))?;
    let state = || match status(node.socket())??.require_running() {
        Err(Error::NotRunning { state, .. }) => Ok(state),
        other => Err(format!("it runs: {other:?}").into()),
    };
    let state: &dyn Fn() -> Outcome<BackendState> = &state;
    world.testbed.tailscale(&node, &["down"])?.success()?;
    assert_eq!(state()?, BackendState::Stopped);
    world.testbed.tailscale(&node, &["logout"])?.success()?;
    assert_eq!(state()?, BackendState::NeedsLogin);
    Ok(())
}

fn socket_without_a_tailscaled_is_said_to_be_that(world: &World) -> Outcome {
    let folder = world.new_folder("no-tailscaled")?;
    for socket in [folder.join("sock"), folder] {
        let status = status(&socket)?;
        assert!(
            matches!(&status, Err(Error::NoTailscaled { path, .. }) if *path == socket),
            "{status:?}"
        );
    }
    Ok(())
}
