//! Two servers of one namespace, each on a node of its own.

use serde_json::Value;
use testbed::{Owner, ServerOptions};

use crate::{Caller, Outcome, Site, World, wait};

/// Two replicas. Which of them reconciles is not said.
#[derive(Debug)]
pub struct Pair<'w>([Site<'w>; 2]);

impl<'w> Pair<'w> {
    /// Two replicas with that configuration, in the namespace of that name.
    pub fn new(world: &'w World, name: &str, config: &Value) -> Outcome<Self> {
        Self::with(name, world, config, |_, options| world.site_with(options))
    }

    /// Two replicas, of which `site` makes each from its number and options.
    pub fn with(
        name: &str,
        world: &'w World,
        config: &Value,
        site: impl Fn(usize, ServerOptions) -> Outcome<Site<'w>>,
    ) -> Outcome<Self> {
        let replica = |number: usize, suffix: &str| {
            let own = format!("{name}-{suffix}");
            let node = world.guest(&own, &Owner::tag("tag:tka"))?;
            let mut options = ServerOptions::new(name);
            options.name.clone_from(&own);
            options.config = config.clone();
            node.hostname().clone_into(&mut options.node);
            let mut site = site(number, options)?;
            site.node = Some(node);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(site)
        };
        Ok(Self([replica(0, "a")?, replica(1, "b")?]))
    }

    /// Says who has which rule, and returns when that is in force at both.
    pub fn grant(&self, grants: &[(&str, Value)]) -> Outcome {
        let Self([a, b]) = self;
        a.grant(grants)?;
        b.wait_policy()
    }

    /// Both, in no order.
    #[must_use]
    pub fn sites(&self) -> &[Site<'w>; 2] {
        &self.0
    }

    /// The one that reconciles, and the other, as soon as that is decided.
    pub fn by_part(&self) -> Outcome<(&Site<'w>, &Site<'w>)> {
        let Self([a, b]) = self;
        wait::until("one reconciles", || {
            Ok(match (holds(a)?, holds(b)?) {
                (true, false) => Some((a, b)),
                (false, true) => Some((b, a)),
                _ => None,
            })
        })
    }
}

/// Whether it is the one that reconciles.
pub fn holds(site: &Site<'_>) -> Outcome<bool> {
    let metrics = site.health()?.send_body("GET", "/metrics", &[], &[])?.expect(200)?;
    Ok(metrics.body.lines().any(|line| line == "tka_lease_held 1"))
}

/// A caller at the node, as soon as the node and the server know each other.
pub fn caller(site: &Site<'_>, node: &str) -> Outcome<Caller> {
    let caller = site.caller(node)?;
    wait::until_true("the server can be reached", || {
        Ok(caller.get("/rules").is_ok_and(|answer| answer.status == 200))
    })?;
    Ok(caller)
}
