//! Which installation of TKA a server belongs to.

use crate::digest::Digest;

/// The name of the installation whose sessions are in `namespace` of the cluster at `server_url`, and whose rules are in `capability`.
///
/// All replicas of it compute the same from their configuration, which they share. It is no secret, and proves nothing: the tailnet says
/// who answers.
#[must_use]
pub fn instance(namespace: &str, capability: &str, server_url: &str, ca_data: &str) -> String {
    let mut digest = Digest::new("instance");
    for field in [namespace, capability, server_url, ca_data] {
        digest.field(field);
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_say_the_same_and_other_installations_do_not() {
        let one = ["tka", "example.com/cap/tka", "https://k8s.example.com:6443", "LS0t"];
        let of = |[a, b, c, d]: [&str; 4]| instance(a, b, c, d);
        assert_eq!(of(one), of(one));
        assert_eq!(of(one).len(), 32);
        for field in 0..one.len() {
            let mut other = one;
            other[field] = "x";
            assert_ne!(of(other), of(one), "{field}");
        }
        assert_ne!(instance("a", "bc", "", ""), instance("ab", "c", "", ""));
    }
}
