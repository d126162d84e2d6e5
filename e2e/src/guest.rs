//! Nodes of one test.

use std::ops::Deref;

use testbed::{Node, Owner};

use crate::{Outcome, World};

/// A node that leaves the tailnet with this. The control server tells every node of every other, so nodes that are
/// no longer used make later tests slow.
#[derive(Debug)]
pub struct Guest<'w> {
    world: &'w World,
    node: Node,
}

// === impl World ===

impl World {
    /// Joins a node to the tailnet for one test, of a name that no other has. Returns when it and the server's node know each
    /// other.
    pub fn guest(&self, hostname: &str, owner: &Owner) -> Outcome<Guest<'_>> {
        let node = self.testbed.add_node(hostname, owner)?;
        Ok(Guest { world: self, node })
    }
}

// === impl Guest ===

impl Guest<'_> {
    /// Starts its tailscaled again, which was killed.
    pub fn bring_back(&self) -> Outcome {
        self.world.testbed.add_node(self.hostname(), self.owner())?;
        Ok(())
    }
}

impl Deref for Guest<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.world.testbed.remove_node(&self.node) {
            eprintln!("e2e: node {} did not leave the tailnet: {error}", self.hostname());
        }
    }
}
