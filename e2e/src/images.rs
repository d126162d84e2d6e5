//! The images that pods run: those that `cargo xtask image` makes.

use std::path::PathBuf;
use std::process::Stdio;

use testbed::NodeOptions;

use crate::Outcome;

/// Builds the images of the project and the program of the sandbox: minutes the first time.
pub(crate) fn node_options() -> Outcome<NodeOptions> {
    let output = testbed::cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "xtask",
            "--",
            "image",
            "--profile=measure",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the images were not built; `cargo xtask image` said why above".into());
    }
    let images = String::from_utf8(output.stdout)?
        .lines()
        .filter_map(built)
        .collect::<Vec<_>>();
    let server = images
        .iter()
        .find(|(repository, ..)| repository.ends_with("/tka-server"));
    let (repository, tag, _) = server.ok_or("there is no image of tka-server")?.clone();
    Ok(NodeOptions {
        sandbox_program: testbed::build_sandbox_program()?,
        server_image: (repository, tag),
        images: images.into_iter().map(|(.., file)| file).collect(),
    })
}

/// A line is `REPOSITORY:TAG DIGEST FILE`.
fn built(line: &str) -> Option<(String, String, PathBuf)> {
    let mut words = line.splitn(3, ' ');
    let (repository, tag) = words.next()?.rsplit_once(':')?;
    let file = words.nth(1)?;
    Some((repository.to_owned(), tag.to_owned(), file.into()))
}
