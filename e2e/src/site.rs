//! A test's own place: a server with a namespace, a capability, RBAC and rules of its own, on the shared tailnet and cluster.

use std::sync::PoisonError;

use serde_json::{Value, json};
use testbed::{Node, Server, ServerOptions};

use crate::cluster::Kind;
use crate::{Caller, Guest, Outcome, Person, World, wait};

/// A server, and who may have what from it.
#[derive(Debug)]
pub struct Site<'w> {
    /// What it shares with the others.
    pub world: &'w World,
    /// The server.
    pub server: Server,
    /// The node that it is reached through, if that is its own.
    pub node: Option<Guest<'w>>,
    _grants: Grants<'w>,
    _guard: Guard<'w>,
}

/// What a test granted, which is forgotten with this: the control server computes with all of it for every node.
#[derive(Debug)]
struct Grants<'w> {
    world: &'w World,
    capability: String,
}

/// The guard of a test's namespace, which goes with this: the API server looks through all policies of all tests for each request that writes, and
/// makes all of them anew when one of them changes.
#[derive(Debug)]
struct Guard<'w> {
    world: &'w World,
    namespace: String,
}

/// The capability that gives oversight at a server with that one.
fn oversight(capability: &str) -> String {
    format!("{capability}-oversight")
}

/// A rule of the tailnet policy.
#[must_use]
pub fn rule(role: &str, period: &str) -> Value {
    json!({"role": role, "period": period})
}

// === impl World ===

impl World {
    /// A server for one test, of a name that no other has. It logs details: none of them may hold a token.
    pub fn site(&self, name: &str) -> Outcome<Site<'_>> {
        self.site_with(ServerOptions::new(name))
    }

    /// The same, where the API server refuses only what RBAC refuses: for tests that write sessions by hand.
    pub fn unguarded_site(&self, name: &str) -> Outcome<Site<'_>> {
        self.site_with(ServerOptions {
            guard: false,
            ..ServerOptions::new(name)
        })
    }

    /// The same, with other options.
    pub fn site_with(&self, mut options: ServerOptions) -> Outcome<Site<'_>> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if !sites.insert(options.name.clone()) {
            return Err(format!(
                "two tests have a site {}, and each would end the other's server",
                options.name
            )
            .into());
        }
        drop(sites);
        if self.is_kept {
            self.testbed.remove_server(&options.name)?;
        }
        options.config["debug"] = true.into();
        Ok(Site::new(self, self.testbed.server(options)?))
    }

    /// The same, on a node of its own, to which anything may happen.
    pub fn site_on<'w>(&'w self, node: Guest<'w>, mut options: ServerOptions) -> Outcome<Site<'w>> {
        node.hostname().clone_into(&mut options.node);
        let mut site = self.site_with(options)?;
        site.node = Some(node);
        Ok(site)
    }
}

// === impl Site ===

impl<'w> Site<'w> {
    pub(crate) fn new(world: &'w World, server: Server) -> Self {
        let capability = server.capability().to_owned();
        Self {
            world,
            node: None,
            _guard: Guard {
                world,
                namespace: server.namespace().to_owned(),
            },
            server,
            _grants: Grants { world, capability },
        }
    }

    /// Says who has which rule, instead of what was said before, and returns when that is in force.
    pub fn grant(&self, grants: &[(&str, Value)]) -> Outcome {
        let grants = grants.iter().map(|(who, rule)| json!({"src": [who], "rules": [rule]}));
        let capability = self.server.capability();
        self.world.testbed.set_grants(capability, grants.collect())?;
        self.wait_policy()
    }

    /// Says who has which oversight, likewise, beside who has which rule.
    pub fn grant_oversight(&self, grants: &[(&str, Value)]) -> Outcome {
        let grants = grants
            .iter()
            .map(|(who, value)| json!({"src": [who], "rules": [value]}));
        let capability = oversight(self.server.capability());
        self.world.testbed.set_grants(&capability, grants.collect())?;
        self.wait_policy()
    }

    /// Returns when the node of this server has the policy that was said last.
    pub fn wait_policy(&self) -> Outcome {
        let node = self.node.as_ref();
        Ok(node.map_or(Ok(()), |node| self.world.testbed.wait_policy_at(node))?)
    }

    /// A program on the node of that name.
    pub fn caller(&self, node: &str) -> Outcome<Caller> {
        self.caller_on(&self.world.testbed.node(node)?)
    }

    /// A program on `node`.
    pub fn caller_on(&self, node: &Node) -> Outcome<Caller> {
        Caller::on(node, &self.server.url(), &self.world.tokens)
    }

    /// A program beside the server, on the same machine, that does not come over the tailnet.
    #[must_use]
    pub fn stranger(&self) -> Caller {
        Caller::beside(self.server.loopback_address(), &self.world.tokens)
    }

    /// A client of the health listener.
    pub fn health(&self) -> Outcome<Caller> {
        let url = self.server.health_url();
        let address = url.trim_start_matches("http://").parse()?;
        Ok(Caller::beside(address, &self.world.tokens))
    }

    /// The person at the node of that name, with a terminal.
    pub fn person(&self, node: &str) -> Outcome<Person> {
        Person::at(self.world, &self.world.testbed.node(node)?, &self.server.url())
    }

    /// The objects of `kind` that belong to sessions of this server.
    pub fn objects(&self, kind: Kind) -> Outcome<Vec<Value>> {
        self.world.cluster.of_sessions(kind, self.server.namespace())
    }

    /// How many TkaSignins, accounts and bindings there are.
    pub fn counts(&self) -> Outcome<[usize; 3]> {
        let count = |kind| Ok::<_, Box<dyn std::error::Error + Send + Sync>>(self.objects(kind)?.len());
        Ok([count(Kind::Signin)?, count(Kind::Account)?, count(Kind::Binding)?])
    }

    /// Waits until no session is left, nor anything of one.
    pub fn wait_empty(&self) -> Outcome {
        wait::until_true("nothing of any session is left", || Ok(self.counts()? == [0, 0, 0]))
    }

    /// Where the one object of `kind` is that belongs to a session.
    pub fn path_of_only(&self, kind: Kind) -> Outcome<String> {
        let objects = self.objects(kind)?;
        let [object] = objects.as_slice() else {
            return Err(format!("there are {} objects and not one: {objects:?}", objects.len()).into());
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Ok(format!("{}/{name}", kind.path(self.server.namespace())))
    }
}

// === impl Grants ===

impl Drop for Grants<'_> {
    fn drop(&mut self) {
        for capability in [&self.capability, &oversight(&self.capability)] {
            if let Err(error) = self.world.testbed.forget_grants(capability) {
                eprintln!("e2e: what a test granted was not forgotten: {error}");
            }
        }
    }
}

// === impl Guard ===

impl Guard<'_> {
    /// First what binds policies to requests: without that they refuse nothing.
    fn remove(&self) -> Outcome {
        let suffix = format!(".{}.tka.specht-labs.de", self.namespace);
        for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}");
            let list = self.world.cluster.get(&path)?.unwrap_or_default();
            let names = list["items"].as_array().into_iter().flatten();
            let names = names.filter_map(|object| object["metadata"]["name"].as_str());
            for name in names.filter(|name| name.ends_with(&suffix)) {
                self.world.cluster.delete(&format!("{path}/{name}"))?;
            }
        }
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("e2e: the guard of {} stays: {error}", self.namespace);
        }
    }
}
