//! `cargo xtask dist`: everything that a release publishes, in `target/dist`. Nothing is uploaded, and nothing is signed: that takes accounts, and
//! [docs/release.md](../../../docs/release.md) has that step.
//!
//! The same commit, toolchain and libc give the same bytes: times are the commit's, and files stand in the order of their names.

mod archive;
mod chart;
mod checksums;
mod command_files;
mod dependencies;
mod manifests;
mod notes;
mod others;
mod provenance;
mod release;
mod sbom;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use testbed::oci::{Rootfs, sha256};

use self::{
    provenance::Built,
    release::{Files, Release},
    sbom::Subject,
};
use crate::{
    Outcome,
    image::{
        CLI, Images, SERVER,
        program::{Program, Target},
    },
    root,
};

/// Arguments of `dist`.
#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// The tag of the release: refused unless it is that of the version, the commit is unchanged, and the changelog has a section of it
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// A `target/dist` of another machine, from the same commit, whose programs are released too; may be repeated
    #[arg(long, value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Where the files go; what is in it is removed [default: target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where the images are published; the chart's default.
const REGISTRY: &str = "ghcr.io/spechtlabs";

/// A program that was built, and its image where it has one.
#[derive(Debug)]
struct BuiltProgram {
    program: Program,
    content: Vec<u8>,
    image: Option<Vec<u8>>,
}

/// Why nothing can be released.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A tag that another version has.
    #[error(
        "the tag {tag} is not that of version {version}, v{version}: set `version` in Cargo.toml, or tag another commit"
    )]
    Tag { tag: String, version: &'static str },
    /// Without a commit there is no time, no source and no list of files.
    #[error("this is no git checkout with a commit: releases are made of one")]
    NoCommit,
    /// What is released must be what is committed.
    #[error("files differ from the commit {0}: commit them, or leave out --tag to try things")]
    Changed(String),
}

// === impl Dist ===

impl Dist {
    pub(crate) fn run(self) -> Outcome {
        let release = Release::of_checkout()?.ok_or(Error::NoCommit)?;
        let notes = self.notes(&release)?;
        let target = Target::of_toolchain()?;
        let out = self.out.unwrap_or_else(|| root().join("target/dist"));
        // Before what takes minutes.
        let mut others = Files::new();
        for folder in &self.with {
            others.extend(others::read(folder, &release)?);
        }
        let new = empty_folder_beside(&out)?;
        let programs = build(&target, &new.join("images"))?;
        let files = assemble(&release, &target, &programs, others, notes)?;
        write_all(&new, &files)?;
        replace(&out, &new)?;
        for name in files.keys() {
            println!("{}", out.join(name).display());
        }
        Ok(())
    }

    /// What changed, and that the tag may be released.
    fn notes(&self, release: &Release) -> Outcome<String> {
        let changelog = fs::read_to_string(root().join("CHANGELOG.md"))?;
        let Some(tag) = &self.tag else {
            let of = |version| notes::of(&changelog, version, release);
            return Ok(of(release.version).or_else(|_| of("Unreleased"))?);
        };
        if tag.strip_prefix('v') != Some(release.version) {
            let (tag, version) = (tag.clone(), release.version);
            return Err(Error::Tag { tag, version }.into());
        }
        if let Some(commit) = release
            .source
            .revision
            .as_deref()
            .filter(|commit| commit.ends_with("-dirty"))
        {
            return Err(Error::Changed(commit.trim_end_matches("-dirty").to_owned()).into());
        }
        Ok(notes::of(&changelog, release.version, release)?)
    }
}

/// Builds the programs for `target`, and their images by way of `folder`, which is gone afterwards.
fn build(target: &Target, folder: &Path) -> Outcome<Vec<BuiltProgram>> {
    let without_image = |program: Program, content| BuiltProgram {
        program,
        content,
        image: None,
    };
    if !target.has_images() {
        return Ok(vec![without_image(CLI, CLI.build(target, None)?)]);
    }
    let images = Images::of_release(REGISTRY, folder.to_owned()).build()?;
    let mut programs = Vec::new();
    for (program, image) in [SERVER, CLI].into_iter().zip(images) {
        programs.push(BuiltProgram {
            image: Some(fs::read(&image.file)?),
            ..without_image(program, image.program)
        });
    }
    fs::remove_dir_all(folder)?;
    Ok(programs)
}

/// All files of the release: those of `programs`, those that `others` built, and those that are for all.
fn assemble(
    release: &Release,
    target: &Target,
    programs: &[BuiltProgram],
    others: Files,
    notes: String,
) -> Outcome<Files> {
    let mut files = others;
    for program in programs {
        eprintln!("xtask: packing {}", program.program.name);
        files.extend(files_of(release, target, program)?);
    }
    files.insert(chart::name(release.version), chart::package(&root(), release)?);
    files.insert("CHANGELOG.md".to_owned(), notes.into_bytes());
    let downloads = manifests::downloads(release, &files);
    let (krew, homebrew) = (
        manifests::krew(release, &downloads),
        manifests::homebrew(release, &downloads),
    );
    files.insert("tka.yaml".to_owned(), krew.into_bytes());
    files.insert("tka.rb".to_owned(), homebrew.into_bytes());
    let own: Vec<_> = files
        .iter()
        .filter(|(name, _)| !others::is_others(name, target))
        .collect();
    let statement = provenance::statement(release, &Built::here(target)?, own.into_iter())?;
    files.insert(release.named(CLI.name, target, "intoto.json"), statement);
    files.insert(checksums::NAME.to_owned(), checksums::of(&files).into_bytes());
    Ok(files)
}

/// The archive, the image and the bill of materials of a program.
fn files_of(release: &Release, target: &Target, built: &BuiltProgram) -> Outcome<Files> {
    let (name, content) = (built.program.name, &built.content);
    let mut packed = Rootfs::default();
    packed
        .file(name, 0o755, content.clone())
        .file("LICENSE", 0o644, fs::read(root().join("LICENSE"))?);
    if name == CLI.name {
        command_files::add(&mut packed, content)?;
    }
    let archive = release.named(name, target, "tar.gz");
    let top = archive.trim_end_matches(".tar.gz").to_owned();
    let subject = Subject {
        program: name,
        package: built.program.package,
        sha256: &sha256(content),
    };
    let mut files = Files::from([
        (archive, archive::pack(&packed, &top, release.time())?),
        (
            release.named(name, target, "cdx.json"),
            sbom::of(release, target, &subject)?,
        ),
    ]);
    if let Some(image) = &built.image {
        files.insert(release.named(name, target, "oci.tar"), image.clone());
    }
    Ok(files)
}

/// A folder without files, on the same disk as `out`.
fn empty_folder_beside(out: &Path) -> io::Result<PathBuf> {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = out.with_file_name(name);
    remove(&new)?;
    fs::create_dir_all(&new)?;
    Ok(new)
}

fn write_all(folder: &Path, files: &Files) -> io::Result<()> {
    files
        .iter()
        .try_for_each(|(name, content)| fs::write(folder.join(name), content))
}

/// `new` in the place of `out`, so that what is there is whole.
fn replace(out: &Path, new: &Path) -> io::Result<()> {
    remove(out)?;
    fs::rename(new, out)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::release::tests::release;

    fn dist(tag: &str) -> Dist {
        Dist {
            tag: Some(tag.to_owned()),
            with: Vec::new(),
            out: None,
        }
    }

    #[test]
    fn tag_must_be_the_versions_and_the_commit_unchanged() {
        let wrong = dist("v1.2.4").notes(&release()).unwrap_err().to_string();
        assert!(wrong.contains("v1.2.4 is not that of version 1.2.3"), "{wrong}");
        let mut changed = release();
        changed.source.revision = Some("abc-dirty".to_owned());
        let wrong = dist("v1.2.3").notes(&changed).unwrap_err().to_string();
        assert!(wrong.contains("differ from the commit abc"), "{wrong}");
        // This changelog has no such version.
        let wrong = dist("v1.2.3").notes(&release()).unwrap_err().to_string();
        assert!(wrong.contains("no section of 1.2.3"), "{wrong}");
    }

    /// A program that prints completions and a manual, as `tka` does.
    const FAKE: &[u8] = b"#!/bin/sh\ncase $1 in completion) echo \"$2 $0\";; *) mkdir $4; echo page >$4/tka.1;; esac\n";

    fn assembled(others: Files) -> Files {
        let built = |program| BuiltProgram {
            program,
            content: FAKE.to_vec(),
            image: Some(b"image".to_vec()),
        };
        let target = Target {
            triple: "x86_64-unknown-linux-gnu".into(),
            system: "linux",
            architecture: "amd64",
        };
        assemble(
            &release(),
            &target,
            &[built(SERVER), built(CLI)],
            others,
            "- New.\n".into(),
        )
        .unwrap()
    }

    #[test]
    fn two_runs_make_the_same_files() {
        let other = "tka-1.2.3-darwin-arm64.tar.gz".to_owned();
        let others = Files::from([(other.clone(), b"other".to_vec())]);
        let files = assembled(others.clone());
        assert_eq!(files, assembled(others));
        let expected = [
            "CHANGELOG.md",
            "SHA256SUMS",
            "tka-1.2.3-darwin-arm64.tar.gz",
            "tka-1.2.3-linux-amd64.cdx.json",
            "tka-1.2.3-linux-amd64.intoto.json",
            "tka-1.2.3-linux-amd64.oci.tar",
            "tka-1.2.3-linux-amd64.tar.gz",
            "tka-1.2.3.tgz",
            "tka-server-1.2.3-linux-amd64.cdx.json",
            "tka-server-1.2.3-linux-amd64.oci.tar",
            "tka-server-1.2.3-linux-amd64.tar.gz",
            "tka.rb",
            "tka.yaml",
        ];
        assert_eq!(files.keys().collect::<Vec<_>>(), expected);
        let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
        let sums = text(checksums::NAME);
        let listed = checksums::read(&sums).unwrap();
        assert_eq!(listed.len(), files.len() - 1);
        for (sum, name) in listed {
            checksums::check(name, sum, &files[name]).unwrap();
        }
        for archive in ["tka-1.2.3-linux-amd64.tar.gz", &other] {
            let sum = sha256(&files[archive]);
            assert!(
                text("tka.yaml").contains(&sum) && text("tka.rb").contains(&sum),
                "{archive}"
            );
        }
        // Another machine's files are in its own statement.
        let statement = text("tka-1.2.3-linux-amd64.intoto.json");
        assert!(
            statement.contains("tka-1.2.3.tgz") && !statement.contains(&other),
            "{statement}"
        );
    }

    #[test]
    fn images_are_called_as_the_chart_calls_them() {
        let values = fs::read_to_string(root().join("charts/tka/values.yaml")).unwrap();
        assert!(values.contains(&format!("repository: {REGISTRY}/{}\n", SERVER.name)));
    }

    #[test]
    fn what_was_there_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("dist");
        for name in ["old", "new"] {
            let new = empty_folder_beside(&out).unwrap();
            write_all(&new, &Files::from([(name.to_owned(), vec![])])).unwrap();
            replace(&out, &new).unwrap();
        }
        let names: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["new"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
