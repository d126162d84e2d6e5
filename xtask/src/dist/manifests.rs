//! What package managers read: a manifest for krew, kubectl's plugin manager, and a formula for Homebrew.

use testbed::oci::sha256;

use super::release::{Files, Release};

/// An archive of `tka` for one platform.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) url: String,
    pub(super) sha256: String,
    /// The one folder in it.
    pub(super) folder: String,
    /// As Go names it.
    pub(super) system: String,
    pub(super) architecture: String,
}

const SUMMARY: &str = "Short-lived Kubernetes access over a tailnet";

/// The archives of `tka` among `files`, for package managers.
pub(super) fn downloads(release: &Release, files: &Files) -> Vec<Download> {
    let prefix = format!("tka-{}-", release.version);
    let platform = |name: &str| {
        let platform = name.strip_prefix(&prefix)?.strip_suffix(".tar.gz")?;
        let (system, architecture) = platform.split_once('-')?;
        Some((system.to_owned(), architecture.to_owned()))
    };
    let downloads = files.iter().filter_map(|(name, content)| {
        let (system, architecture) = platform(name)?;
        Some(Download {
            url: format!("{}/releases/download/v{}/{name}", release.repository, release.version),
            folder: name.trim_end_matches(".tar.gz").to_owned(),
            sha256: sha256(content),
            system,
            architecture,
        })
    });
    downloads.collect()
}

/// The manifest for krew (<https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/>). Values are names, URLs and digits, so that none needs
/// an escape.
pub(super) fn krew(release: &Release, downloads: &[Download]) -> String {
    let platforms = downloads.iter().map(krew_platform).collect::<Vec<_>>().concat();
    format!(
        "\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: tka
spec:
  version: \"v{version}\"
  homepage: {home}
  shortDescription: {SUMMARY}
  description: |
    Signs in to Kubernetes clusters over the tailnet. The tailnet policy says which role you may have and for how long. The cluster
    gets a ServiceAccount and a binding for just so long, and kubectl uses them.
  platforms:
{platforms}",
        version = release.version,
        home = release.repository,
    )
}

fn krew_platform(download: &Download) -> String {
    let Download {
        url,
        sha256,
        folder,
        system,
        architecture,
    } = download;
    format!(
        "  - selector:
      matchLabels:
        os: {system}
        arch: {architecture}
    uri: {url}
    sha256: \"{sha256}\"
    bin: tka
    files:
    - from: {folder}/tka
      to: .
    - from: {folder}/LICENSE
      to: .
"
    )
}

/// The formula for Homebrew (<https://docs.brew.sh/Formula-Cookbook>).
pub(super) fn homebrew(release: &Release, downloads: &[Download]) -> String {
    let systems: String = [("darwin", "macos"), ("linux", "linux")]
        .map(|(system, block)| homebrew_system(block, downloads.iter().filter(|one| one.system == system)))
        .concat();
    format!(
        "\
class Tka < Formula
  desc \"{SUMMARY}\"
  homepage \"{home}\"
  version \"{version}\"
  license \"{license}\"
{systems}
  def install
    bin.install \"tka\"
    bin.install_symlink \"tka\" => \"kubectl-tka\"
    bash_completion.install \"completions/tka.bash\" => \"tka\"
    fish_completion.install \"completions/tka.fish\"
    zsh_completion.install \"completions/_tka\"
    man1.install Dir[\"man/man1/*.1\"]
  end

  test do
    assert_match version.to_s, shell_output(\"#{{bin}}/tka version\")
  end
end
",
        home = release.repository,
        version = release.version,
        license = env!("CARGO_PKG_LICENSE"),
    )
}

fn homebrew_system<'a>(block: &str, downloads: impl Iterator<Item = &'a Download>) -> String {
    let part = |download: &Download| {
        let processor = if download.architecture == "arm64" {
            "arm"
        } else {
            "intel"
        };
        let (url, sha256) = (&download.url, &download.sha256);
        format!("    on_{processor} do\n      url \"{url}\"\n      sha256 \"{sha256}\"\n    end\n")
    };
    let parts = downloads.map(part).collect::<Vec<_>>().concat();
    if parts.is_empty() {
        return String::new();
    }
    format!("\n  on_{block} do\n{parts}  end\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::release::tests::release;

    fn downloads() -> Vec<Download> {
        let download = |system: &str, architecture: &str, digit: &str| Download {
            url: format!("https://example.com/tka-{system}-{architecture}.tar.gz"),
            sha256: digit.repeat(64),
            folder: format!("tka-{system}-{architecture}"),
            system: system.to_owned(),
            architecture: architecture.to_owned(),
        };
        vec![download("darwin", "arm64", "1"), download("linux", "amd64", "2")]
    }

    #[test]
    fn krew_finds_each_platform_with_its_checksum() {
        let manifest: serde_json::Value = serde_saphyr::from_str(&krew(&release(), &downloads())).unwrap();
        assert_eq!(manifest["spec"]["version"], "v1.2.3");
        // krew's index takes no longer one (https://krew.sigs.k8s.io/docs/developer-guide/develop/best-practices/).
        assert!(manifest["spec"]["shortDescription"].as_str().unwrap().len() <= 50);
        let platforms = manifest["spec"]["platforms"].as_array().unwrap();
        for (platform, download) in platforms.iter().zip(downloads()) {
            let labels = &platform["selector"]["matchLabels"];
            assert_eq!(
                (&labels["os"], &labels["arch"]),
                (&download.system.into(), &download.architecture.into())
            );
            assert_eq!(
                (&platform["uri"], &platform["sha256"]),
                (&download.url.into(), &download.sha256.into())
            );
            assert_eq!(platform["files"][0]["from"], format!("{}/tka", download.folder));
        }
        assert_eq!(platforms.len(), 2);
    }

    #[test]
    fn homebrew_has_a_block_for_each_system() {
        let formula = homebrew(&release(), &downloads());
        let block = |system: &str, processor: &str, file: &str, digit: &str| {
            format!(
                "  on_{system} do\n    on_{processor} do\n      url \"https://example.com/tka-{file}.tar.gz\"\n      sha256 \"{}\"\n    end\n  end\n",
                digit.repeat(64)
            )
        };
        assert!(
            formula.contains(&block("macos", "arm", "darwin-arm64", "1")),
            "{formula}"
        );
        assert!(
            formula.contains(&block("linux", "intel", "linux-amd64", "2")),
            "{formula}"
        );
        assert!(
            formula.contains("version \"1.2.3\"") && formula.contains("#{bin}/tka"),
            "{formula}"
        );
        assert!(!homebrew(&release(), &downloads()[1..]).contains("on_macos"));
    }

    #[test]
    fn downloads_are_the_archives_of_the_command_line_alone() {
        let names = [
            "tka-1.2.3-linux-amd64.tar.gz",
            "tka-1.2.3-darwin-arm64.tar.gz",
            "tka-1.2.3-linux-amd64.oci.tar",
            "tka-server-1.2.3-linux-amd64.tar.gz",
            "tka-1.2.3.tgz",
        ];
        let files = names.map(|name| (name.to_owned(), name.as_bytes().to_vec())).into();
        let downloads = super::downloads(&release(), &files);
        let platforms: Vec<_> = downloads
            .iter()
            .map(|one| (one.system.as_str(), one.architecture.as_str()))
            .collect();
        assert_eq!(platforms, [("darwin", "arm64"), ("linux", "amd64")]);
        assert_eq!(downloads[1].sha256, sha256(names[0].as_bytes()));
        assert_eq!(
            downloads[1].url,
            "https://example.com/tka/releases/download/v1.2.3/tka-1.2.3-linux-amd64.tar.gz"
        );
    }
}
