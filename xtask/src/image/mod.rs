//! `cargo xtask image`: OCI images of `tka-server` and of `tka`, without an engine.
//!
//! An image has one program, the files that the C library reads to resolve names, and nothing else: no shell, no package manager, no library. It runs as
//! user 65532 unless it is told otherwise.

pub(crate) mod program;

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::Args;
use testbed::oci::{Compression, Image, Rootfs};

use self::program::{Error, Program, Target};
use crate::{Outcome, root};

/// Arguments of `image`.
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// The registry and the path before the names of the images
    #[arg(long, value_name = "PREFIX", default_value = "localhost")]
    repository: String,
    /// Where the archives go [default: target/images, with --profile a folder of that name in it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build the programs with this profile instead of those of a release. Testbeds take `measure`, which builds in a fraction of the time
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// The server's program, as its pod runs it.
pub(crate) const SERVER: Program = Program {
    package: "tka-server",
    name: "tka-server",
    profile: "release",
};
/// The command line, for jobs in pods.
pub(crate) const CLI: Program = Program {
    package: "tka-cli",
    name: "tka",
    profile: "cli",
};
/// No user of a node, and the one that images without root commonly have.
const USER: &str = "65532:65532";
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// Names are looked up in `/etc/hosts`, then by DNS (`nsswitch.conf(5)`).
const NSSWITCH: &str = "hosts: files dns\n";

/// An image that was built.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) repository: String,
    pub(crate) tag: String,
    /// The digest of its manifest.
    digest: String,
    /// Its archive.
    pub(crate) file: PathBuf,
    /// The program in it.
    pub(crate) program: Vec<u8>,
}

/// What is known of the commit.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its time, in seconds since 1970.
    pub(crate) time: i64,
    /// Its name, with `-dirty` where files differ from it; none outside of a repository.
    pub(crate) revision: Option<String>,
}

impl Images {
    /// Those that a testbed runs.
    pub(crate) fn of_testbed() -> Self {
        Self {
            repository: "localhost".to_owned(),
            out: None,
            profile: Some("measure".to_owned()),
        }
    }

    /// Those of a release: called as people pull them, and written into `out`.
    pub(crate) fn of_release(repository: &str, out: PathBuf) -> Self {
        Self {
            repository: repository.to_owned(),
            out: Some(out),
            profile: None,
        }
    }

    pub(crate) fn run(self) -> Outcome {
        for built in self.build()? {
            println!(
                "{}:{} {} {}",
                built.repository,
                built.tag,
                built.digest,
                built.file.display()
            );
        }
        Ok(())
    }

    /// Builds all of them, the server's first.
    pub(crate) fn build(self) -> Outcome<Vec<Built>> {
        let target = Target::of_toolchain()?;
        if !target.has_images() {
            return Err(Error::NoImages(target.triple).into());
        }
        let source = Source::find()?;
        let folder = || {
            root()
                .join("target/images")
                .join(self.profile.as_deref().unwrap_or_default())
        };
        let out = self.out.clone().unwrap_or_else(folder);
        fs::create_dir_all(&out)?;
        let mut all = Vec::new();
        for (program, command) in [(SERVER, ["serve"].as_slice()), (CLI, &["help"])] {
            eprintln!("xtask: building {} for an image", program.name);
            let content = program.build(&target, self.profile.as_deref())?;
            let rootfs = rootfs(program, content.clone())?;
            let (repository, tag) = (
                format!("{}/{}", self.repository, program.name),
                env!("CARGO_PKG_VERSION"),
            );
            let image = Image {
                name: format!("{repository}:{tag}"),
                architecture: target.architecture,
                entrypoint: vec![format!("/usr/bin/{}", program.name)],
                command: command.iter().map(ToString::to_string).collect(),
                user: USER.to_owned(),
                labels: source.labels(program.name),
                created: source.time,
                compression: Compression::Best,
            };
            let archive = image.pack(&rootfs)?;
            let file = out.join(format!("{}.tar", program.name));
            fs::write(&file, &archive.bytes)?;
            all.push(Built {
                repository,
                tag: tag.to_owned(),
                digest: archive.digest,
                file,
                program: content,
            });
        }
        Ok(all)
    }
}

fn rootfs(program: Program, content: Vec<u8>) -> Outcome<Rootfs> {
    let mut rootfs = Rootfs::default();
    rootfs
        .file(&format!("usr/bin/{}", program.name), 0o755, content)
        .file("etc/passwd", 0o644, PASSWD)
        .file("etc/group", 0o644, GROUP)
        .file("etc/nsswitch.conf", 0o644, NSSWITCH)
        .file("usr/share/doc/tka/LICENSE", 0o644, fs::read(root().join("LICENSE"))?)
        .folder("tmp", 0o1777);
    Ok(rootfs)
}

// === impl Source ===

impl Source {
    /// The commit that is checked out. `SOURCE_DATE_EPOCH` wins over its time
    /// (<https://reproducible-builds.org/docs/source-date-epoch/>).
    pub(crate) fn find() -> Outcome<Self> {
        let time = match env::var("SOURCE_DATE_EPOCH") {
            Ok(time) => time.parse()?,
            Err(_) => git(&["log", "-1", "--format=%ct"]).map_or(Ok(0), |time| time.parse())?,
        };
        let is_changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
        let revision = git(&["rev-parse", "HEAD"]).map(|commit| if is_changed { commit + "-dirty" } else { commit });
        Ok(Self { time, revision })
    }

    fn labels(&self, title: &str) -> BTreeMap<String, String> {
        let known = [
            ("title", Some(title)),
            (
                "description",
                Some("Short-lived Kubernetes access for people on a tailnet"),
            ),
            ("licenses", Some(env!("CARGO_PKG_LICENSE"))),
            (
                "source",
                Some(env!("CARGO_PKG_REPOSITORY")).filter(|url| !url.is_empty()),
            ),
            ("version", Some(env!("CARGO_PKG_VERSION"))),
            ("revision", self.revision.as_deref()),
        ];
        let labels = known.into_iter().filter_map(|(key, value)| Some((key, value?)));
        labels
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
            .collect()
    }
}

/// What git says of this repository; none where it says nothing.
pub(crate) fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerfile_makes_the_same_images() {
        let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
        let source = Source {
            time: 0,
            revision: None,
        };
        for (program, command) in [(SERVER, "serve"), (CLI, "help")] {
            let Program { package, name, profile } = program;
            let build = format!("{name}) package={package} profile={profile} ;;");
            let stage = format!("FROM image AS image-{name}\nCMD [\"{command}\"]\n");
            for part in [&build, &stage] {
                assert!(dockerfile.contains(part.as_str()), "{part}");
            }
        }
        let labels = source.labels("");
        let label = |key: &str| labels[&format!("org.opencontainers.image.{key}")].as_str();
        assert!(dockerfile.contains(&format!("ARG VERSION={}\n", label("version"))));
        assert!(dockerfile.contains("image.version=\"${VERSION}\""));
        for key in ["source", "licenses"] {
            let line = format!("LABEL org.opencontainers.image.{key}=\"{}\"\n", label(key));
            assert!(dockerfile.contains(&line), "{line}");
        }
    }
}
