//! Ways not to reach the server, and proxies.

use std::net::{IpAddr, TcpListener, UdpSocket};

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tailscaled::Tailscaled;
use crate::tka::{Outcome, User, login, signing_in};

#[test]
fn a_server_that_is_down() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let user = User::new();
    let outcome = user.run(&["login", "-s", "127.0.0.1", "-p", &port]);
    assert_eq!(outcome.status, 5);
    insta::assert_snapshot!(outcome.stderr.replace(&port, "PORT"), @"
    ✗ cannot reach the server at http://127.0.0.1:PORT
      why  Connection refused (os error 111)
      do   check with `tailscale status` that this device is connected
           check the server's name (--server)
           check that the server runs and listens on port PORT (--port)
    ");
    assert!(user.files().is_empty());
}

#[test]
fn a_name_that_is_not_known() {
    let outcome = User::new().run(&["login", "-s", "tka.invalid"]);
    assert_eq!(outcome.status, 5);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ cannot reach the server at https://tka.invalid
      why  the name tka.invalid does not resolve
      do   check with `tailscale status` that this device is connected and that the server is in your tailnet
           check the server's name (--server)
           or see with `tka clusters` which servers this device finds
    ");
}

#[test]
fn a_server_that_hangs() {
    let fake = FakeServer::new(&[("POST /login", Answer::Silence)]);
    let outcome = User::new().run_with(&fake, &["login", "--timeout", "0.1"]);
    assert_eq!(outcome.status, 5);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 5
    --- stdout
    false
    --- stderr
    ✗ cannot reach the server at http://127.0.0.1:PORT
      why  no answer within 0.1 s
      do   check with `tailscale status` that this device is connected
           check the server's name (--server)
           check that the server runs and listens on port PORT (--port)
           a session may have begun: `tka sessions` shows it, `tka logout` ends it
    ");
}

#[test]
fn tls_where_there_is_none() {
    let fake = FakeServer::new(&[]);
    let url = format!("https://127.0.0.1:{}", fake.address.port());
    let outcome = User::new().run(&["login", "-s", &url, "--timeout", "5"]);
    assert!(matches!(outcome.status, 1 | 5), "{outcome:?}");
    assert!(!outcome.stderr.is_empty());
}

#[test]
fn an_http_proxy_is_used() {
    let mut script = signing_in();
    script.truncate(2);
    let fake = FakeServer::new(&script);
    let user = User::new();
    let output = user
        .command(&["login", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", format!("http://{}", fake.address))
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let requests = fake.requests();
    assert_eq!(requests[0].line, "CONNECT tka.example.ts.net:8080");
    assert!(requests[1].has("Host: tka.example.ts.net:8080"), "{requests:?}");
    assert!(user.folder().join("tka.example.ts.net_8080.yaml").is_file());
}

#[test]
fn no_proxy_goes_past_the_proxy() {
    let fake = FakeServer::new(&[("GET /login", Answer::json(200, &login()))]);
    let output = User::new()
        .command_with(&fake, &["get", "login"])
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    assert_eq!(Outcome::from(output).status, 0);
}

#[test]
fn a_proxy_that_is_down_is_named() {
    let output = User::new()
        .command(&["login", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 5);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ cannot reach the server at http://tka.example.ts.net:8080
      why  no connection to the proxy in HTTP_PROXY
           Connection refused (os error 111)
      do   check that the proxy in HTTP_PROXY runs, or unset HTTP_PROXY
    ");
}

/// tailscaled gives up the connections that it is making when the tailnet changes.
#[test]
fn a_proxy_that_does_not_connect_is_asked_once_more() {
    let refused = Answer::Http {
        status: 500,
        headers: vec![],
        body: "operation was canceled".into(),
    };
    let waiting = Answer::json(200, &serde_json::json!({"items": []}));
    let connect = "CONNECT tka.example.ts.net:8080";
    let fake = FakeServer::new(&[(connect, refused), ("GET /approvals", waiting)]);
    let output = User::new()
        .command(&["approvals", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", format!("http://{}", fake.address))
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(fake.requests().len(), 3, "two to connect, and one to the server");
}

/// As tailscaled's proxy says that the server does not listen.
#[test]
fn a_proxy_that_does_not_reach_the_server_is_not_blamed_alone() {
    let refused = Answer::Http {
        status: 500,
        headers: vec![],
        body: "connect: connection refused".into(),
    };
    let connect = "CONNECT tka.example.ts.net:8080";
    let fake = FakeServer::new(&[(connect, refused.clone()), (connect, refused)]);
    let output = User::new()
        .command(&["login", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", format!("http://{}", fake.address))
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 5);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ cannot reach the server at http://tka.example.ts.net:8080
      why  the proxy in HTTP_PROXY did not connect to tka.example.ts.net
           it answered with HTTP status 500
      do   check the server's name (--server)
           check that the server runs and listens on port 8080 (--port)
           check that the proxy in HTTP_PROXY is in your tailnet, or unset HTTP_PROXY
    ");
}

#[test]
fn a_proxy_variable_that_is_no_address() {
    let output = User::new()
        .command(&["login", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", "gopher://user:hunter2@proxy")
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ the environment variable HTTP_PROXY does not hold the address of a proxy
      why  invalid proxy url
      do   set HTTP_PROXY to something like http://127.0.0.1:1055, or unset it
    ");
}

#[test]
fn authorities_that_cannot_be_read() {
    let user = User::new();
    let output = user
        .command(&["login"])
        .env("SSL_CERT_FILE", "/nonexistent/ca.pem")
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ the certificates in SSL_CERT_FILE cannot be read: /nonexistent/ca.pem
      why  No such file or directory (os error 2)
      do   set SSL_CERT_FILE to the full path of a file with PEM certificates, or unset it
    ");
}

/// An address of this machine that is neither loopback nor the tailnet's. Nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Where traffic to a documentation network (RFC 5737) would leave this machine.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// cases.md 11.4: plain HTTP leads nowhere else than to the tailnet and this machine.
#[test]
fn plain_http_leaves_neither_the_tailnet_nor_this_machine() {
    let Some(address) = own_address() else {
        crate::test_requirements::report_missing("a network");
        return;
    };
    let fake = FakeServer::at(address, &[]);
    let user = User::new();
    let server = fake.address.to_string();
    for arguments in [
        &["login", "-s", &server][..],
        &["get", "login", "-s", &server],
        &["credential", "--session", "x", "--server", &format!("http://{server}")],
        &["logout", "-s", &server],
    ] {
        let outcome = user.run(arguments);
        assert_eq!(outcome.status, 5, "{outcome:?}");
        assert!(outcome.stderr.contains("does not send plain HTTP to"), "{outcome:?}");
    }
    let outcome = user.run(&["login", "-s", &server]);
    let said = outcome
        .stderr
        .replace(&server, "HERE")
        .replace(&address.to_string(), "ADDRESS");
    insta::assert_snapshot!(said, @"
    ✗ tka does not send plain HTTP to http://HERE
      why  its address ADDRESS is not on the tailnet
           others could read the traffic, or answer in the server's place
      do   check with `tailscale status` that this device is connected, so that the name resolves to a tailnet address
           check the server's name (--server)
           or use HTTPS (port 443, or a URL that begins with https://)
    ");
    // A proxy of this machine does not make it better.
    let proxy = FakeServer::new(&[]);
    let mut command = user.command(&["login", "-s", &server]);
    let outcome = Outcome::from(
        command
            .env("HTTP_PROXY", format!("http://{}", proxy.address))
            .output()
            .unwrap(),
    );
    assert_eq!(
        (
            outcome.status,
            outcome
                .stderr
                .replace(&server, "HERE")
                .replace(&address.to_string(), "ADDRESS")
        ),
        (5, said)
    );
    assert!(proxy.requests().is_empty() && fake.requests().is_empty());
}

#[test]
fn address_that_tailscaled_knows_is_on_the_tailnet() {
    let Some(address) = own_address() else {
        crate::test_requirements::report_missing("a network");
        return;
    };
    let fake = FakeServer::at(address, &[("GET /login", Answer::json(200, &login()))]);
    let user = User::new();
    let server = fake.address.to_string();
    let status = |state: &str| {
        json!({"BackendState": state, "Self": {"DNSName": "laptop.example.ts.net.", "TailscaleIPs": ["100.64.0.1"]},
            "Peer": {"1": {"DNSName": "tka.example.ts.net.", "TailscaleIPs": [address]}}})
    };
    for (state, exit) in [("Stopped", 5), ("Running", 0)] {
        let tailscaled = Tailscaled::new(&status(state));
        let mut command = user.command(&["get", "login", "-s", &server]);
        command.env("TKA_TAILSCALE_SOCKET", tailscaled.socket());
        let outcome = Outcome::from(command.output().unwrap());
        assert_eq!(outcome.status, exit, "{outcome:?}");
    }
    fake.requests();
}

#[test]
fn foreign_proxy_carries_plain_http_only_if_chosen() {
    let Some(address) = own_address() else {
        crate::test_requirements::report_missing("a network");
        return;
    };
    let session = ("GET /login", Answer::json(200, &login()));
    let refusal = Answer::Http {
        status: 502,
        headers: vec![],
        body: String::new(),
    };
    let connect = ("CONNECT tka.example.ts.net:443", refusal);
    let script = [session.clone(), session, connect.clone(), connect];
    let proxy = FakeServer::at(address, &script);
    let user = User::new();
    let through = format!("http://{}", proxy.address);
    let run = |server: &str, variable: &str| {
        let mut command = user.command(&["get", "login", "-s", server]);
        Outcome::from(command.env(variable, &through).output().unwrap())
    };
    let outcome = run("http://tka.example.ts.net:8080", "HTTP_PROXY");
    assert_eq!(outcome.status, 6, "{outcome:?}");
    insta::assert_snapshot!(outcome.stderr.replace(&address.to_string(), "ADDRESS"), @"
    ✗ tka does not send plain HTTP to http://tka.example.ts.net:8080
      why  the proxy in HTTP_PROXY is at ADDRESS, and could read the traffic
      do   add tka.example.ts.net to NO_PROXY, or unset HTTP_PROXY
           to use this proxy anyway, set it with `tka config tailscale.proxy URL`
    ");
    assert_eq!(run("http://tka.example.ts.net:8080", "TKA_TAILSCALE_PROXY").status, 0);
    user.has_settings(&format!("tailscale: {{proxy: \"{through}\"}}"));
    assert_eq!(
        user.run(&["get", "login", "-s", "http://tka.example.ts.net:8080"])
            .status,
        0
    );
    user.has_settings("");
    // HTTPS proves the identity of the server.
    assert!(
        run("https://tka.example.ts.net", "HTTPS_PROXY")
            .stderr
            .contains("did not connect")
    );
    proxy.requests();
}

/// An answer does not send the request on to another machine.
#[test]
fn redirects_are_not_followed() {
    let elsewhere = FakeServer::new(&[]);
    for status in [301, 302, 303, 307, 308] {
        let to = Answer::Http {
            status,
            headers: vec![format!("Location: http://{}/api/v1alpha1/login", elsewhere.address)],
            body: String::new(),
        };
        let fake = FakeServer::new(&[("POST /login", to)]);
        let outcome = User::new().run_with(&fake, &["login"]);
        assert_ne!(outcome.status, 0, "{outcome:?}");
        fake.requests();
    }
    assert!(elsewhere.requests().is_empty());
}
