//! Certificates: one authority for the cluster, another for the tailnet.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{error::Result, files, layout::Layout};

/// The names by which programs on this machine and in the cluster call the API server.
const API_SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "10.0.0.1",
    NODE_ADDRESS,
];
/// The address of the Kubernetes node, where there is one.
pub(crate) const NODE_ADDRESS: &str = "10.99.0.1";
/// Clients of the API server, each by its file, its user and its group.
const CLIENTS: [(&str, &str, Option<&str>); 7] = [
    ("admin", "testbed-administrator", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet", "system:node:testbed", Some("system:nodes")),
    ("kube-proxy", "system:kube-proxy", None),
    ("kube-router", "testbed-kube-router", None),
    ("coredns", "testbed-coredns", None),
];
/// How the API server calls itself towards the kubelet. It is no administrator of the cluster by that name.
pub(crate) const KUBELET_CLIENT: &str = "testbed-kubelet-client";

/// Makes what is not there yet. The last file written is the mark that all are there.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    let done = layout.pki("done");
    if done.exists() {
        return Ok(());
    }
    files::create_private_dir(&layout.pki(""))?;
    let cluster = Authority::create(layout, "cluster-ca")?;
    cluster.issue(layout, "apiserver", &API_SERVER_NAMES, ("kube-apiserver", None))?;
    for (file, user, group) in CLIENTS {
        cluster.issue(layout, file, &[], (user, group))?;
    }
    cluster.issue(layout, "kubelet-client", &[], (KUBELET_CLIENT, None))?;
    cluster.issue(layout, "kubelet-server", &[NODE_ADDRESS], ("kubelet", None))?;
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
