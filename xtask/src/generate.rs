//! `cargo xtask crd` and `cargo xtask docs`: files that come from code.

use std::{fs, io, path::PathBuf, process::ExitStatus, process::Stdio};

use clap::Args;

use crate::Outcome;

/// Arguments of `crd` and `docs`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Only say whether what is committed is what the code says.
    #[arg(long)]
    pub(crate) check: bool,
}

/// A file that an example of a crate prints.
#[derive(Debug)]
struct Generated {
    /// The file, from the root of the checkout.
    file: &'static str,
    package: &'static str,
    example: &'static str,
    features: &'static [&'static str],
    /// The command that writes it.
    command: &'static str,
}

const CRD: &[Generated] = &[Generated {
    file: "charts/tka/files/tkasignins.yaml",
    package: "tka-api",
    example: "crd",
    features: &["resource"],
    command: "crd",
}];

const DOCS: &[Generated] = &[
    Generated {
        file: "docs/audit.schema.json",
        package: "tka-api",
        example: "audit_schema",
        features: &["audit"],
        command: "docs",
    },
    Generated {
        file: "docs/cli.md",
        package: "tka-cli",
        example: "cli_reference",
        features: &[],
        command: "docs",
    },
    Generated {
        file: "docs/metrics.md",
        package: "tka-server",
        example: "metrics",
        features: &[],
        command: "docs",
    },
    Generated {
        file: "docs/openapi.json",
        package: "tka-server",
        example: "openapi",
        features: &[],
        command: "docs",
    },
];

/// Why a file is not what the code says.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The generator did not run to its end.
    #[error("the generator failed ({0}); it said why above")]
    Generator(ExitStatus),
    /// The check failed.
    #[error("{file} is not what the code says: run `cargo xtask {command}` and commit the result")]
    Stale { file: &'static str, command: &'static str },
    /// A program or a file could not be worked with.
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

// === impl Generate ===

impl Generate {
    /// The custom resource of the Helm chart.
    pub(crate) fn crd(&self) -> Outcome {
        self.all(CRD)
    }

    /// The references in `docs`.
    pub(crate) fn docs(&self) -> Outcome {
        self.all(DOCS)
    }

    fn all(&self, files: &[Generated]) -> Outcome {
        for generated in files {
            generated.bring_up_to_date(self.check)?;
        }
        Ok(())
    }
}

// === impl Generated ===

impl Generated {
    fn bring_up_to_date(&self, check: bool) -> Result<(), Error> {
        let path = self.path();
        let generated = self.generate()?;
        if fs::read(&path).is_ok_and(|current| current == generated) {
            return Ok(());
        }
        if check {
            let (file, command) = (self.file, self.command);
            return Err(Error::Stale { file, command });
        }
        let what = format!("cannot write {}", path.display());
        fs::write(&path, generated).map_err(|source| Error::Io { what, source })?;
        eprintln!("xtask: wrote {}", path.display());
        Ok(())
    }

    fn path(&self) -> PathBuf {
        crate::root().join(self.file)
    }

    fn generate(&self) -> Result<Vec<u8>, Error> {
        let mut cargo = testbed::cargo();
        cargo.args(["run", "--quiet", "--package", self.package, "--example", self.example]);
        if !self.features.is_empty() {
            cargo.args(["--features", &self.features.join(",")]);
        }
        let output = cargo
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| Error::Io {
                what: "cannot run cargo".to_owned(),
                source,
            })?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Error::Generator(output.status))
        }
    }
}
