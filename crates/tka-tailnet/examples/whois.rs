//! Asks a tailscaled what it knows: `whois [--socket PATH] [--watch] [--certificate DOMAIN] [ADDRESS:PORT]`.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use futures::StreamExt as _;
use tka_tailnet::{DEFAULT_SOCKET, LocalApi};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut socket = DEFAULT_SOCKET.to_owned();
    let (mut address, mut domain, mut watch) = (None, None, false);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--socket" => socket = args.next().ok_or("--socket needs a path")?,
            "--certificate" => domain = Some(args.next().ok_or("--certificate needs a domain")?),
            "--watch" => watch = true,
            _ => address = Some(arg.parse()?),
        }
    }

    let tailscaled = LocalApi::new(socket);
    if let Some(address) = address {
        println!("{:#?}", tailscaled.whois(address).await?);
    } else if let Some(domain) = domain {
        println!("{:#?}", tailscaled.certificate(&domain, None).await?);
    } else if watch {
        let mut notifications = tailscaled.watch().await?;
        while let Some(notification) = notifications.next().await {
            println!("{:?}", notification?);
        }
    } else {
        println!("{:#?}", tailscaled.status().await?);
    }
    Ok(())
}
