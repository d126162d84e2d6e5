//! `cargo xtask crd` and `cargo xtask docs`: files that come from code.

use std::{
    fs, io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use clap::Args;

use crate::{Outcome, troubleshooting, version};

/// Arguments of `crd` and `docs`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Only say whether what is committed is what the code says.
    #[arg(long)]
    pub(crate) check: bool,
}

/// A file that a program prints.
#[derive(Debug)]
struct Generated {
    /// The file, from the root of the checkout.
    file: &'static str,
    source: Source,
    /// The command that writes it.
    command: &'static str,
}

/// What prints a file.
#[derive(Debug)]
enum Source {
    /// An example of a crate.
    Example {
        package: &'static str,
        example: &'static str,
        /// What the example is asked for.
        args: &'static [&'static str],
        features: &'static [&'static str],
    },
    /// The testbed's helm, with these arguments at the root of the checkout.
    Helm(&'static [&'static str]),
    /// Which words of errors lead to which section of the troubleshooting.
    Troubleshooting,
}

const CRD: &[Generated] = &[Generated {
    file: "charts/tka/files/tkasignins.yaml",
    source: Source::Example {
        package: "tka-api",
        example: "crd",
        args: &[],
        features: &["resource"],
    },
    command: "crd",
}];

const DOCS: &[Generated] = &[
    Generated {
        file: "crates/tka-cli/src/terminal/sections.tsv",
        source: Source::Troubleshooting,
        command: "docs",
    },
    Generated {
        file: "charts/tka/files/chart-variables.json",
        source: Source::Example {
            package: "tka-server",
            example: "configuration",
            args: &["chart-variables"],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "charts/tka/files/restart-keys.json",
        source: Source::Example {
            package: "tka-server",
            example: "configuration",
            args: &["restart-keys"],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "charts/tka/values.schema.json",
        source: Source::Example {
            package: "tka-server",
            example: "configuration",
            args: &["values"],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "docs/audit.schema.json",
        source: Source::Example {
            package: "tka-api",
            example: "audit_schema",
            args: &[],
            features: &["audit"],
        },
        command: "docs",
    },
    Generated {
        file: "docs/cli.md",
        source: Source::Example {
            package: "tka-cli",
            example: "cli_reference",
            args: &[],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "docs/configuration.md",
        source: Source::Example {
            package: "tka-server",
            example: "configuration",
            args: &["page"],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "docs/configuration.schema.json",
        source: Source::Example {
            package: "tka-server",
            example: "configuration",
            args: &["schema"],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "docs/metrics.md",
        source: Source::Example {
            package: "tka-server",
            example: "metrics",
            args: &[],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "docs/openapi.json",
        source: Source::Example {
            package: "tka-server",
            example: "openapi",
            args: &[],
            features: &[],
        },
        command: "docs",
    },
    Generated {
        file: "deploy/kustomize/base/tka.yaml",
        source: Source::Helm(&[
            "template",
            "tka",
            "charts/tka",
            "--namespace=tka",
            "--values=deploy/kustomize/values.yaml",
        ]),
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
    /// helm is not there and could not be built.
    #[error("helm renders the plain manifests, and there is none")]
    Helm(#[from] testbed::Error),
    /// The troubleshooting or the code that it is about cannot be read.
    #[error(transparent)]
    Troubleshooting(#[from] troubleshooting::Error),
    /// A program or a file could not be worked with.
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

// === impl Generate ===

impl Generate {
    /// The custom resource and the version of the Helm chart.
    pub(crate) fn crd(&self) -> Outcome {
        self.all(CRD)?;
        Ok(version::bring_up_to_date(&crate::root(), self.check)?)
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
        match self.source.command()? {
            Some(command) => printed_by(command),
            None => Ok(troubleshooting::table(&crate::root())?.into_bytes()),
        }
    }
}

/// What `command` prints.
fn printed_by(mut command: Command) -> Result<Vec<u8>, Error> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Io {
            what: format!("cannot run {}", command.get_program().display()),
            source,
        })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Generator(output.status))
    }
}

// === impl Source ===

impl Source {
    /// The program that prints it; none where this one finds it itself.
    fn command(&self) -> Result<Option<Command>, Error> {
        match self {
            Self::Troubleshooting => Ok(None),
            Self::Example {
                package,
                example,
                args,
                features,
            } => {
                let mut cargo = testbed::cargo();
                cargo.args(["run", "--quiet", "--package", package, "--example", example]);
                if !features.is_empty() {
                    cargo.args(["--features", &features.join(",")]);
                }
                cargo.arg("--").args(*args);
                Ok(Some(cargo))
            }
            Self::Helm(arguments) => {
                let mut helm = Command::new(testbed::program("helm")?);
                // A developer's plug-ins and settings have no part in it.
                helm.args(*arguments).current_dir(crate::root()).env_clear();
                Ok(Some(helm))
            }
        }
    }
}
