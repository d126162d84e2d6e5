//! Images that are on the node before any pod is: no registry is asked for anything.

use std::{
    collections::BTreeMap,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use super::{
    place::{PAUSE, data},
    requirements::busybox,
    sandbox::Sandbox,
};
use crate::{
    error::{Attempt, Error, Result},
    files::{self, Lock},
    layout::Layout,
    oci::{self, Compression, Image, Rootfs},
    programs::cache_dir,
};

/// An image with a shell and the usual small programs, for pods of tests.
pub(crate) const SHELL: &str = "localhost/shell:testbed";
/// `containerboot`, `tailscaled` and `tailscale`, as in the official image: repository and tag.
pub(crate) const TAILSCALE: (&str, &str) = ("localhost/tailscale", "testbed");

/// Small programs that the images have, each by its name.
const APPLETS: [&str; 43] = [
    "sh", "cat", "cp", "cut", "date", "df", "env", "false", "grep", "head", "hostname", "httpd", "id", "ip", "kill",
    "ln", "ls", "mkdir", "mkfifo", "mount", "mv", "nc", "nslookup", "ping", "printf", "ps", "pwd", "rm", "sed", "seq",
    "sleep", "sort", "stat", "stty", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "wget",
];

/// Takes the testbed's own images and those of `archives` into the node. An image that is there already costs a look.
pub(super) fn import(layout: &Layout, sandbox: &Sandbox, archives: &[PathBuf]) -> Result<()> {
    let own = write_own(layout)?;
    files::create_private_dir(&data(layout).join("images"))?;
    for archive in own.iter().chain(archives) {
        let fingerprint = fingerprint(archive)?;
        let mark = data(layout).join("images").join(mark_name(archive));
        if mark.exists() && files::read_to_string(&mark)? == fingerprint {
            continue;
        }
        let ctr = sandbox.run(&layout.node_bin().join("ctr"));
        ctr.args([Path::new("images"), Path::new("import"), archive])
            .output()?
            .success()?;
        files::write(&mark, &fingerprint)?;
    }
    Ok(())
}

fn mark_name(archive: &Path) -> String {
    archive.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".imported"
}

/// When it was written and how long it is.
fn fingerprint(archive: &Path) -> Result<String> {
    let what = || format!("cannot read the image {}", archive.display());
    let metadata = fs::metadata(archive).attempt(what)?;
    Ok(format!("{:?} {}", metadata.modified().attempt(what)?, metadata.len()))
}

/// The testbed's own images. They are packed once on a machine: they hold large programs.
fn write_own(layout: &Layout) -> Result<Vec<PathBuf>> {
    let cache = cache_dir()?;
    let _lock = Lock::acquire(&cache.join("images.lock"))?;
    let (repository, tag) = TAILSCALE;
    let images: [OwnImage<'_>; 3] = [
        ("pause", PAUSE.to_owned(), &["/bin/sleep", "infinity"], pause),
        ("shell", SHELL.to_owned(), &["/bin/sh"], shell),
        (
            "tailscale",
            format!("{repository}:{tag}"),
            &["/usr/local/bin/containerboot"],
            tailscale,
        ),
    ];
    images
        .into_iter()
        .map(|(file, name, entrypoint, files)| {
            let files = files(layout)?;
            let archive = cache.join(format!("image-{file}-{:016x}.tar", files.fingerprint()?));
            if !archive.exists() {
                write_image(&archive, &name, entrypoint, files.rootfs()?)?;
            }
            Ok(archive)
        })
        .collect()
}

/// The name of its archive, its own name, its entry point, and its files.
type OwnImage<'a> = (&'a str, String, &'a [&'a str], fn(&Layout) -> Result<Files>);

/// The files of an image: where each is in it, and where it is on this machine; then links, each with its target.
#[derive(Debug, Default)]
struct Files {
    files: Vec<(&'static str, PathBuf)>,
    links: Vec<(String, &'static str)>,
}

// === impl Files ===

impl Files {
    /// Changes with the files: programs are called after their versions.
    fn fingerprint(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for (place, path) in &self.files {
            (place, path, fingerprint(path)?).hash(&mut hasher);
        }
        self.links.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn rootfs(&self) -> Result<Rootfs> {
        let mut rootfs = Rootfs::default();
        for (place, path) in &self.files {
            let content = fs::read(path).attempt(|| format!("cannot read {}", path.display()))?;
            rootfs.file(place, 0o755, content);
        }
        for (place, target) in &self.links {
            rootfs.link(place, target);
        }
        Ok(rootfs)
    }
}

fn write_image(file: &Path, name: &str, entrypoint: &[&str], mut rootfs: Rootfs) -> Result<()> {
    rootfs
        .file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n")
        .folder("tmp", 0o1777);
    let image = Image {
        name: name.to_owned(),
        architecture: oci::architecture(env::consts::ARCH).ok_or_else(|| {
            Error::Name(format!(
                "there are no images for the architecture {}",
                env::consts::ARCH
            ))
        })?,
        entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
        command: Vec::new(),
        user: String::new(),
        labels: BTreeMap::new(),
        created: 0,
        compression: Compression::Fast,
    };
    let archive = image
        .pack(&rootfs)
        .attempt(|| format!("cannot pack the image {name}"))?;
    files::write(file, &archive.bytes)
}

/// Where a link of the testbed leads: to a file that is called after its version.
fn built(link: &Path) -> Result<PathBuf> {
    link.canonicalize()
        .attempt(|| format!("cannot find {}", link.display()))
}

fn pause(_layout: &Layout) -> Result<Files> {
    Ok(Files {
        files: vec![("bin/sleep", busybox()?)],
        links: Vec::new(),
    })
}

fn shell(layout: &Layout) -> Result<Files> {
    Ok(Files {
        files: vec![
            ("bin/busybox", busybox()?),
            ("usr/bin/kubectl", built(&layout.program("kubectl"))?),
        ],
        links: APPLETS.map(|applet| (format!("bin/{applet}"), "busybox")).into(),
    })
}

fn tailscale(layout: &Layout) -> Result<Files> {
    Ok(Files {
        files: vec![
            (
                "usr/local/bin/containerboot",
                built(&layout.node_bin().join("containerboot"))?,
            ),
            ("usr/local/bin/tailscaled", built(&layout.program("tailscaled"))?),
            ("usr/local/bin/tailscale", built(&layout.program("tailscale"))?),
            // The official image has a shell too.
            ("bin/busybox", busybox()?),
        ],
        links: ["sh", "sleep"]
            .map(|applet| (format!("bin/{applet}"), "busybox"))
            .into(),
    })
}
