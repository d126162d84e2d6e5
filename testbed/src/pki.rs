//! Certificates: one authority for the cluster, another for the tailnet.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{error::Result, files, layout::Layout};

/// The names by which programs on this machine and in the cluster call the API server.
const API_SERVER_NAMES: [&str; 6] = [
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "10.0.0.1",
];

/// Makes what is not there yet. The last file written is the mark that all are there.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    let done = layout.pki("done");
    if done.exists() {
        return Ok(());
    }
    files::create_private_dir(&layout.pki(""))?;
    let cluster = Authority::create(layout, "cluster-ca")?;
    cluster.issue(layout, "apiserver", &API_SERVER_NAMES, ("kube-apiserver", None))?;
    cluster.issue(layout, "admin", &[], ("testbed-administrator", Some("system:masters")))?;
    cluster.issue(
        layout,
        "controller-manager",
        &[],
        ("system:kube-controller-manager", None),
    )?;
    let tailnet = Authority::create(layout, "tailnet-ca")?;
    tailnet.issue(layout, "headscale", &["127.0.0.1", "localhost"], ("headscale", None))?;
    let accounts = KeyPair::generate()?;
    files::write_private(&layout.pki("service-accounts.key"), accounts.serialize_pem())?;
    files::write(&layout.pki("service-accounts.pub"), accounts.public_key_pem())?;
    files::write(&done, "")
}

struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Its key is not kept: nothing else will ever be signed with it.
    fn create(layout: &Layout, name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("testbed {name}"), None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        files::write(&layout.pki(&format!("{name}.pem")), params.self_signed(&key)?.pem())?;
        Ok(Self(Issuer::new(params, key)))
    }

    /// A certificate for a server if it has names, else for a client, whose common name is the user and whose
    /// organisation is the group.
    fn issue(&self, layout: &Layout, file: &str, names: &[&str], user: (&str, Option<&str>)) -> Result<()> {
        let names: Vec<_> = names.iter().copied().map(str::to_owned).collect();
        let usage = if names.is_empty() {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = subject(user.0, user.1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        files::write(
            &layout.pki(&format!("{file}.pem")),
            params.signed_by(&key, &self.0)?.pem(),
        )?;
        files::write_private(&layout.pki(&format!("{file}.key")), key.serialize_pem())
    }
}

fn subject(name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(organisation) = organisation {
        subject.push(DnType::OrganizationName, organisation);
    }
    subject
}
