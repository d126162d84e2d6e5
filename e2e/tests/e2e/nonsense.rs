//! Malformed and hostile requests: the answer blames the sender, and none ends the process.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use e2e::user::ALICE;
use e2e::{Caller, Outcome, World, rule};
use serde_json::json;
use testbed::ServerOptions;

crate::tests![
    unknown_paths_are_404_and_unknown_methods_405,
    bytes_that_are_no_request_are_refused_and_survived,
    oversized_requests_are_refused_or_served_and_survived,
    requests_that_never_end_are_given_up,
    body_that_is_not_read_leaves_the_connection_whole,
];

fn unknown_paths_are_404_and_unknown_methods_405(world: &World) -> Outcome {
    let site = world.site("unknown-paths")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    for path in [
        "/",
        "/api/v1alpha1",
        "/api/v1alpha1/",
        "/api/v1alpha1/login/",
        "/api/v1/login",
        "/%ff%00",
        "//login",
    ] {
        alice.send_body("GET", path, &[], &[])?.expect(404)?.refusal()?;
    }
    for (method, path) in [
        ("DELETE", "/login"),
        ("PUT", "/login"),
        ("OPTIONS", "/login"),
        ("TRACE", "/login"),
        ("BREW", "/login"),
        ("POST", "/kubeconfig"),
        ("GET", "/logout"),
        ("POST", "/cluster-info"),
    ] {
        alice.send(method, path, &[])?.expect(405)?.refusal()?;
    }
    Ok(())
}

fn bytes_that_are_no_request_are_refused_and_survived(world: &World) -> Outcome {
    let site = world.site("no-request")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let process = site.server.pid()?;
    for bytes in [
        b"\x00\x01garbage\r\n\r\n".as_slice(),
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"POST /api/v1alpha1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1alpha1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/v1alpha1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\n",
        b"GET /api/v1alpha1/login HTTP/1.1\r\nHost: x\r\n: nameless\r\n\r\n",
        // The beginning of a TLS handshake.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let status = alice.write(bytes)?;
        let shown = String::from_utf8_lossy(bytes);
        assert!(
            status.is_none_or(|status| (400..500).contains(&status)),
            "{shown:?}: {status:?}"
        );
    }
    still_serves(&alice)?;
    assert_eq!(site.server.pid()?, process);
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn oversized_requests_are_refused_or_served_and_survived(world: &World) -> Outcome {
    let site = world.site("oversized")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let process = site.server.pid()?;
    let request =
        |line: &str, head: &str| format!("{line} HTTP/1.1\r\nHost: {}\r\n{head}\r\n", alice.authority()).into_bytes();
    let login = "GET /api/v1alpha1/login";
    assert_eq!(alice.write(&request(login, ""))?, Some(401), "as it should be");
    assert_eq!(alice.write(&request(login, &"X: a\r\n".repeat(60)))?, Some(401));
    for many in [64, 1000] {
        assert_eq!(alice.write(&request(login, &"X: a\r\n".repeat(many)))?, Some(431));
    }
    assert_eq!(
        alice.write(&request(login, &format!("X: {}\r\n", "a".repeat(16 << 10))))?,
        Some(401)
    );
    let too_long = alice.write(&request(login, &format!("X: {}\r\n", "a".repeat(100 << 10))))?;
    assert!(matches!(too_long, None | Some(431)), "{too_long:?}");
    // More than is read: what is left unread resets the connection, and the reset may overtake the answer.
    let long_header = alice.write(&request(login, &format!("X: {}\r\n", "a".repeat(1 << 20))))?;
    assert!(matches!(long_header, None | Some(431)), "{long_header:?}");
    let long_path = alice.write(&request(&format!("GET /{}", "a".repeat(1 << 17)), ""))?;
    assert!(matches!(long_path, None | Some(414 | 431)), "{long_path:?}");
    for path in ["login", "logout", "nothing"] {
        let body = vec![b'{'; 8 << 20];
        let mut request = request(
            &format!("POST /api/v1alpha1/{path}"),
            &format!("Content-Length: {}\r\n", body.len()),
        );
        request.extend(body);
        // Not more of it is read than is needed: the connection may be closed before the answer is through.
        let status = alice.write(&request)?;
        assert!(status.is_none_or(|status| status < 500), "{path}: {status:?}");
    }
    alice.post("/logout")?;
    still_serves(&alice)?;
    assert_eq!(site.server.pid()?, process);
    Ok(())
}

fn requests_that_never_end_are_given_up(world: &World) -> Outcome {
    let mut options = ServerOptions::new("never-ending");
    options.config = json!({"server": {"readHeaderTimeout": "1s", "readTimeout": "2s"}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let login = format!("POST /api/v1alpha1/login HTTP/1.1\r\nHost: {}\r\n", alice.authority());
    let json = format!("{login}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{");
    for beginning in ["P", &login, &json] {
        let status = alice.write(beginning.as_bytes())?;
        assert!(
            status.is_none_or(|status| (400..500).contains(&status)),
            "{beginning:?}: {status:?}"
        );
    }
    still_serves(&alice)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

/// A body that arrives after the server has refused the request: to close the connection then would be 502 from a proxy.
fn body_that_is_not_read_leaves_the_connection_whole(world: &World) -> Outcome {
    let site = world.site("late-body")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    let mut stream = alice.tunnel()?;
    let line = |method: &str| {
        format!(
            "{method} /api/v1alpha1/login HTTP/1.1\r\nHost: {}\r\n",
            alice.authority()
        )
    };
    write!(stream, "{}Content-Length: 2\r\n\r\n", line("DELETE"))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    let early = stream.read(&mut [0; 1]);
    let is_still_waiting = |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(early.is_err_and(is_still_waiting), "it waits for the body");
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    write!(stream, "{{}}{}Connection: close\r\n\r\n", line("GET"))?;
    let mut answers = String::new();
    stream.read_to_string(&mut answers)?;
    let statuses = answers.split("HTTP/1.1 ").filter_map(|answer| answer.get(..3));
    assert_eq!(statuses.collect::<Vec<_>>(), ["405", "401"], "{answers}");
    Ok(())
}

fn still_serves(alice: &Caller) -> Outcome {
    alice.get("/login")?.expect(401)?.refusal().map(drop)
}
