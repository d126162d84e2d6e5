//! Ways not to reach the server, and proxies.

use std::net::TcpListener;

use crate::double::{Answer, Double};
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
      do   see with `tailscale status` that this device is connected
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
      why  the name tka.invalid is not known
      do   see with `tailscale status` that this device is connected and that the server is in your tailnet
           check the server's name (--server)
    ");
}

#[test]
fn a_server_that_hangs() {
    let double = Double::new(&[("POST /login", Answer::Silence)]);
    let outcome = User::new().run_with(&double, &["login", "--timeout", "0.1"]);
    assert_eq!(outcome.status, 5);
    insta::assert_snapshot!(outcome.shown(&double), @"
    status 5
    --- stdout
    false
    --- stderr
    ✗ cannot reach the server at http://127.0.0.1:PORT
      why  no answer within 0.1 s
      do   see with `tailscale status` that this device is connected
           check the server's name (--server)
           check that the server runs and listens on port PORT (--port)
    ");
}

#[test]
fn tls_where_there_is_none() {
    let double = Double::new(&[]);
    let url = format!("https://127.0.0.1:{}", double.address.port());
    let outcome = User::new().run(&["login", "-s", &url, "--timeout", "5"]);
    assert!(matches!(outcome.status, 1 | 5), "{outcome:?}");
    assert!(!outcome.stderr.is_empty());
}

#[test]
fn an_http_proxy_is_used() {
    let mut script = signing_in();
    script.truncate(2);
    let double = Double::new(&script);
    let user = User::new();
    let output = user
        .command(&["login", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", format!("http://{}", double.address))
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let requests = double.requests();
    assert_eq!(requests[0].line, "CONNECT tka.example.ts.net:8080");
    assert!(requests[1].has("Host: tka.example.ts.net:8080"), "{requests:?}");
    assert!(user.folder().join("tka.example.ts.net_8080.yaml").is_file());
}

#[test]
fn no_proxy_goes_past_the_proxy() {
    let double = Double::new(&[("GET /login", Answer::json(200, &login()))]);
    let output = User::new()
        .command_with(&double, &["get", "login"])
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

/// As tailscaled's proxy says that the server does not listen.
#[test]
fn a_proxy_that_does_not_reach_the_server_is_not_blamed_alone() {
    let refused = Answer::Http {
        status: 500,
        headers: vec![],
        body: "connect: connection refused".into(),
    };
    let double = Double::new(&[("CONNECT tka.example.ts.net:8080", refused)]);
    let output = User::new()
        .command(&["login", "-s", "tka.example.ts.net", "-p", "8080"])
        .env("HTTP_PROXY", format!("http://{}", double.address))
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
      do   let SSL_CERT_FILE name a file with PEM certificates, or unset it
    ");
}
