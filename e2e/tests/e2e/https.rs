//! HTTPS: with the tailnet's certificate on port 443, with one from files on any port.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::certified::{Authority, Certified, Pair, Validity};
use e2e::secure::{Protocol, Secure};
use e2e::user::ALICE;
use e2e::{Outcome, Person, Said, Site, World, rule, wait};
use jiff::Timestamp;
use serde_json::json;
use testbed::{Owner, ServerOptions, with_gateway};

crate::tests![
    tailnet_certificate_follows_the_name_of_the_node,
    certificate_from_files_is_replaced_without_a_restart,
    gateway_is_carried_over_both_versions_of_http,
];

/// What only a caller with a rule gets.
const RULES: &str = "/api/v1alpha1/rules";
const DAY: i64 = 24 * 60 * 60;
/// A certificate of which two thirds are over: the server looks for the next at once.
const NEARLY_OVER: Validity = (-10 * DAY, 100);
const FRESH: Validity = (-60, 90 * DAY);
/// How `tka doctor` ends when the server cannot be reached.
const UNREACHABLE: i32 = 5;

/// A person at Alice's device, who trusts an authority.
struct Desk {
    person: Person,
    proxy: String,
    socket: PathBuf,
    authority: PathBuf,
}

impl Desk {
    fn at(site: &Site<'_>, url: &str, authority: &Path) -> Outcome<Self> {
        let node = site.world.testbed.node("ALICE")?;
        Ok(Self {
            person: Person::at(site.world, &node, url)?,
            proxy: node.proxy(),
            socket: node.socket().to_owned(),
            authority: authority.to_owned(),
        })
    }

    fn tka(&self, arguments: &[&str]) -> Outcome<Said> {
        let mut command = self.person.typed(arguments);
        command
            .env("HTTPS_PROXY", &self.proxy)
            .env("TKA_TAILSCALE_SOCKET", &self.socket)
            .env("SSL_CERT_FILE", &self.authority);
        let output = command.output()?;
        Ok(Said {
            status: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }
}

fn connect(site: &Site<'_>, host: &str, authority: &str, protocol: Protocol) -> Outcome<Secure> {
    let caller = site
        .caller("ALICE")?
        .to(&format!("https://{host}:{}", site.server.port()));
    Secure::over(caller.tunnel()?, host, authority, protocol)
}

/// Waits until a new connection shows another certificate than `before`.
fn until_replaced(site: &Site<'_>, host: &str, authority: &str, before: &[u8]) -> Outcome<Secure> {
    wait::until("another certificate is served", || {
        let connection = connect(site, host, authority, Protocol::Http2)?;
        Ok((connection.certificate != before).then_some(connection))
    })
}

fn ready(site: &Site<'_>) -> Outcome<(u16, String)> {
    let answer = site.health()?.send_body("GET", "/readyz", &[], &[])?;
    Ok((answer.status, answer.body))
}

fn until_ready_says(site: &Site<'_>, status: u16, text: &str) -> Outcome {
    wait::until_true(&format!("/readyz answers {status} with {text:?}"), || {
        let (found, body) = ready(site)?;
        Ok(found == status && body.contains(text))
    })
}

/// Whether this process may listen on port 443; as root in CI it must.
fn may_listen() -> Outcome<bool> {
    match TcpListener::bind("127.0.0.1:443") {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!(
                "e2e: not run: the tailnet's certificate is served on port 443, which this user may not listen on"
            );
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn tailnet_certificate_follows_the_name_of_the_node(world: &World) -> Outcome {
    if !may_listen()? {
        return Ok(());
    }
    let node = world.guest("tls-before", &Owner::tag("tag:tka"))?;
    let certified = Certified::before(node.socket())?;
    certified.give(Some(NEARLY_OVER));
    let mut options = ServerOptions::new("tls-tailnet");
    options.config = json!({
        "tailscale": {"port": 443, "socket": certified.socket()},
        // The renewal takes longer than an idle connection of HTTP/1.1 is kept.
        "server": {"readHeaderTimeout": "2m"},
    });
    let site = world.site_on(node, options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let (host, authority) = ("tls-before.tailnet.test", certified.authority());

    let mut kept = [Protocol::Http1, Protocol::Http2].map(|protocol| connect(&site, host, authority, protocol));
    for connection in &mut kept {
        let connection = connection.as_mut().map_err(|error| error.to_string())?;
        assert_eq!(connection.status(RULES)?, 200);
    }
    let desk = Desk::at(&site, &site.server.url(), &certified.authority_file())?;
    let said = desk.tka(&["login", "--quiet"])?.expect(0)?;
    let kubeconfig = said.out.trim().strip_prefix("export KUBECONFIG=");
    desk.person.remember(Path::new(
        kubeconfig.ok_or("login printed no export line")?.trim_matches('\''),
    ))?;
    desk.tka(&["doctor"])?.expect(0)?;

    let before = kept[1]
        .as_ref()
        .map_err(std::string::ToString::to_string)?
        .certificate
        .clone();
    // The authority does not answer for a while: the server goes on, and says so.
    certified.give(None);
    until_ready_says(&site, 200, "[+]certificate ok: a new certificate cannot be used")?;
    certified.give(Some(FRESH));
    let mut renewed = until_replaced(&site, host, authority, &before)?;
    assert_eq!(renewed.status(RULES)?, 200);
    for connection in &mut kept {
        let connection = connection.as_mut().map_err(|error| error.to_string())?;
        assert_eq!(
            connection.status(RULES)?,
            200,
            "an open connection outlives the renewal"
        );
    }
    until_ready_says(&site, 200, "[+]certificate ok\n")?;

    let node = site.node.as_ref().ok_or("the site has no node")?;
    world.testbed.change_node(node, &["rename", "tls-after"])?;
    let new = "tls-after.tailnet.test";
    let mut after = wait::until("the new name has its certificate", || {
        Ok(connect(&site, new, authority, Protocol::Http2).ok())
    })?;
    assert_eq!(after.status(RULES)?, 200);
    let desk = Desk::at(&site, &format!("https://{new}"), &certified.authority_file())?;
    desk.tka(&["doctor"])?.expect(0)?;
    Ok(())
}

/// Replaces both files in one step, as the kubelet does for a Secret.
fn swap(folder: &Path, pair: &Pair) -> Outcome {
    let name = format!("..{}", Timestamp::now().as_nanosecond());
    let data = folder.join(&name);
    fs::create_dir(&data)?;
    fs::write(data.join("tls.crt"), &pair.certificate)?;
    fs::write(data.join("tls.key"), &pair.key)?;
    symlink(name, folder.join("..data_tmp"))?;
    Ok(fs::rename(folder.join("..data_tmp"), folder.join("..data"))?)
}

fn certificate_from_files_is_replaced_without_a_restart(world: &World) -> Outcome {
    let (folder, authority) = (world.new_folder("tls-files")?, Authority::new()?);
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), folder.join(file))?;
    }
    let authority_file = folder.join("ca.pem");
    fs::write(&authority_file, authority.certificate())?;
    let host = "tka.tailnet.test";
    let first = authority.issue(host, FRESH)?;
    swap(&folder, &first)?;
    let mut options = ServerOptions::new("tls-files");
    options.config = json!({"tls": {"certFile": folder.join("tls.crt"), "keyFile": folder.join("tls.key")}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let mut kept = connect(&site, host, authority.certificate(), Protocol::Http2)?;
    assert_eq!(kept.status(RULES)?, 200);
    let desk = Desk::at(&site, &site.server.url(), &authority_file)?;
    desk.tka(&["doctor"])?.expect(0)?;

    let second = authority.issue(host, FRESH)?;
    swap(&folder, &second)?;
    let mut renewed = until_replaced(&site, host, authority.certificate(), &kept.certificate)?;
    assert_eq!((kept.status(RULES)?, renewed.status(RULES)?), (200, 200));

    let (other, ended) = (authority.issue(host, FRESH)?, authority.issue(host, (-2 * DAY, -DAY))?);
    let wrong_key = Pair {
        certificate: second.certificate.clone(),
        key: other.key.clone(),
    };
    for (pair, why) in [
        (&wrong_key, "cannot be used together"),
        (&ended, "the certificate ended at"),
    ] {
        swap(&folder, pair)?;
        until_ready_says(&site, 200, why)?;
        assert!(
            fs::read_to_string(site.server.log())?.contains(why),
            "the log says it too"
        );
        let now = connect(&site, host, authority.certificate(), Protocol::Http1)?;
        assert!(now.certificate == renewed.certificate, "the one before is served");
    }
    swap(&folder, &other)?;
    until_replaced(&site, host, authority.certificate(), &renewed.certificate)?;
    until_ready_says(&site, 200, "[+]certificate ok\n")?;

    // Who does not trust the authority is told so.
    let stranger = Desk::at(&site, &site.server.url(), &world.testbed.ca_file())?;
    let said = stranger.tka(&["doctor"])?.expect(UNREACHABLE)?;
    assert!(said.out.contains("certificate"), "{}", said.out);
    Ok(())
}

/// The gateway over TLS: HTTP/1.1 and HTTP/2, kubectl with a committed file, no browser, and streams that end with their session.
fn gateway_is_carried_over_both_versions_of_http(world: &World) -> Outcome {
    const NAMESPACES: &str = "/k8s/api/v1/namespaces";
    let (folder, authority) = (world.new_folder("tls-gateway")?, Authority::new()?);
    let host = "tka.tailnet.test";
    let issued = authority.issue(host, FRESH)?;
    for (file, text) in [
        ("tls.crt", issued.certificate.as_str()),
        ("tls.key", issued.key.as_str()),
        ("ca.pem", authority.certificate()),
    ] {
        fs::write(folder.join(file), text)?;
    }
    let mut options = ServerOptions::new("tls-gateway");
    options.config = with_gateway();
    options.config["tls"] = json!({"certFile": folder.join("tls.crt"), "keyFile": folder.join("tls.key")});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let desk = Desk::at(&site, &site.server.url(), &folder.join("ca.pem"))?;
    desk.tka(&["login", "--quiet"])?.expect(0)?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = connect(&site, host, authority.certificate(), protocol)?;
        assert_eq!(connection.status(NAMESPACES)?, 200, "{protocol:?}");
        for headers in [
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")],
        ] {
            assert_eq!(
                connection.status_with(NAMESPACES, headers)?,
                403,
                "{protocol:?} {headers:?}"
            );
        }
        assert_eq!(connection.status(NAMESPACES)?, 200, "it is still open");
    }
    let committed = desk.tka(&["kubeconfig", "--static"])?.expect(0)?.out;
    let file = desk.person.home().join("committed.yaml");
    fs::write(&file, &committed)?;
    let mut kubectl = desk.person.kubectl_command(&file, &["auth", "whoami", "--output=name"]);
    kubectl
        .env("HTTPS_PROXY", &desk.proxy)
        .env("SSL_CERT_FILE", &desk.authority);
    let output = kubectl.output()?;
    assert!(output.status.success(), "{output:?}");

    let mut watching = connect(&site, host, authority.certificate(), Protocol::Http2)?;
    let watch = watching.begin(&format!("{NAMESPACES}?watch=true"), &[])?;
    assert_eq!(watch.status(), 200);
    desk.tka(&["logout", "--quiet"])?.expect(0)?;
    let signed_out = Instant::now();
    watching.wait_for_the_end(watch);
    wait::within(
        Duration::from_secs(1),
        "signing out cuts a watch over HTTP/2",
        signed_out.elapsed(),
    )
}
