//! Images that are on the node before any pod is: no registry is asked for anything.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use super::{data, sandbox::Sandbox};
use crate::{
    error::{Attempt, Error, Result},
    files,
    layout::Layout,
    oci::{Compression, Image, Rootfs},
};

/// What holds the namespaces of a pod.
pub(super) const PAUSE: &str = "localhost/pause:testbed";
/// An image with a shell and the usual small programs, for pods of tests.
pub(crate) const SHELL: &str = "localhost/shell:testbed";
/// `containerboot`, `tailscaled` and `tailscale`, as in the official image.
pub(crate) const TAILSCALE: &str = "localhost/tailscale:testbed";

/// Small programs that the images have, each by its name.
const APPLETS: [&str; 40] = [
    "sh", "cat", "cp", "cut", "date", "df", "env", "false", "grep", "head", "hostname", "httpd", "id", "ip", "kill",
    "ln", "ls", "mkdir", "mount", "mv", "nc", "nslookup", "ping", "printf", "ps", "pwd", "rm", "sed", "seq", "sleep",
    "sort", "stat", "stty", "tail", "tar", "test", "touch", "tr", "true", "wget",
];

/// Takes the testbed's own images and those of `archives` into the node. An image that is there already costs a look.
pub(super) fn import(layout: &Layout, sandbox: &Sandbox, archives: &[PathBuf]) -> Result<()> {
    let own = write_own(layout)?;
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

/// Writes the testbed's own images, unless they are there.
fn write_own(layout: &Layout) -> Result<Vec<PathBuf>> {
    let folder = data(layout).join("images");
    files::create_private_dir(&folder)?;
    let images: [(&str, &str, &[&str], fn(&Layout) -> Result<Rootfs>); 3] = [
        ("pause", PAUSE, &["/bin/sleep", "infinity"], pause),
        ("shell", SHELL, &["/bin/sh"], shell),
        ("tailscale", TAILSCALE, &["/usr/local/bin/containerboot"], tailscale),
    ];
    images
        .into_iter()
        .map(|(file, name, entrypoint, rootfs)| {
            let file = folder.join(file).with_extension("tar");
            if !file.exists() {
                write_image(&file, name, entrypoint, rootfs(layout)?)?;
            }
            Ok(file)
        })
        .collect()
}

fn write_image(file: &Path, name: &str, entrypoint: &[&str], mut rootfs: Rootfs) -> Result<()> {
    rootfs
        .file("etc/passwd", 0o644, "root:x:0:0:root:/:/bin/sh\n")
        .folder("tmp", 0o1777);
    let image = Image {
        name: name.to_owned(),
        architecture: if env::consts::ARCH == "aarch64" {
            "arm64"
        } else {
            "amd64"
        },
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

fn pause(_layout: &Layout) -> Result<Rootfs> {
    let mut rootfs = Rootfs::default();
    rootfs.file("bin/sleep", 0o755, read(&busybox()?)?);
    Ok(rootfs)
}

fn shell(layout: &Layout) -> Result<Rootfs> {
    let mut rootfs = Rootfs::default();
    rootfs.file("bin/busybox", 0o755, read(&busybox()?)?);
    for applet in APPLETS {
        rootfs.link(&format!("bin/{applet}"), "busybox");
    }
    rootfs.file("usr/bin/kubectl", 0o755, read(&layout.program("kubectl"))?);
    Ok(rootfs)
}

fn tailscale(layout: &Layout) -> Result<Rootfs> {
    let mut rootfs = Rootfs::default();
    for (program, path) in [
        ("containerboot", layout.node_bin().join("containerboot")),
        ("tailscaled", layout.program("tailscaled")),
        ("tailscale", layout.program("tailscale")),
    ] {
        rootfs.file(&format!("usr/local/bin/{program}"), 0o755, read(&path)?);
    }
    Ok(rootfs)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).attempt(|| format!("cannot read {}", path.display()))
}

/// A busybox that needs no library.
fn busybox() -> Result<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&folders).chain(["/bin", "/usr/bin"].map(PathBuf::from));
    candidates
        .map(|folder| folder.join("busybox"))
        .find(|program| program.is_file())
        .ok_or_else(|| Error::Tool {
            program: "busybox".to_owned(),
            package: "busybox-static".to_owned(),
        })
}
