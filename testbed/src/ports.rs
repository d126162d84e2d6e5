//! Ports that two testbeds on one machine never share.
//!
//! A free port that the system names may be given to an outgoing connection before a daemon has it. And a daemon that
//! restarts may find its port taken. So a testbed claims a block of ports below the range that systems give out by
//! themselves, and keeps it until it goes down.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files::{self, Lock},
    layout::Layout,
    programs,
};

const FIRST: u16 = 20_000;
const BLOCK: u16 = 1_000;
const BLOCKS: u16 = 11;

/// Who has which block: the block's first port, and the testbed's folder.
type Registry = BTreeMap<u16, PathBuf>;

/// A testbed's ports.
#[derive(Debug, Serialize, Deserialize)]
struct Block {
    first: u16,
    taken: Vec<u16>,
}

/// Claims a block for a testbed, unless it has one.
pub(crate) fn claim(layout: &Layout) -> Result<()> {
    if layout.ports().exists() {
        return Ok(());
    }
    let (registry_file, _lock) = registry()?;
    let mut registry: Registry = files::read_json(&registry_file)?.unwrap_or_default();
    // A testbed whose folder was deleted no longer needs its ports.
    registry.retain(|_, dir| dir.join("ports.json").exists());
    let Some(first) = (0..BLOCKS)
        .map(|n| FIRST + n * BLOCK)
        .find(|first| !registry.contains_key(first))
    else {
        return Err(Error::NoPorts {
            blocks: registry.len(),
            registry: registry_file,
        });
    };
    registry.insert(first, layout.dir().to_owned());
    files::write_json(&registry_file, &registry)?;
    files::write_json(
        &layout.ports(),
        &Block {
            first,
            taken: Vec::new(),
        },
    )
}

/// Gives a testbed's block back.
pub(crate) fn give_back(layout: &Layout) -> Result<()> {
    let (registry_file, _lock) = registry()?;
    let mut registry: Registry = files::read_json(&registry_file)?.unwrap_or_default();
    registry.retain(|_, dir| dir != layout.dir());
    files::write_json(&registry_file, &registry)
}

fn registry() -> Result<(PathBuf, Lock)> {
    let cache = programs::cache_dir()?;
    files::create_private_dir(&cache)?;
    let lock = Lock::acquire(&cache.join("ports.lock"))?;
    Ok((cache.join("ports.json"), lock))
}

/// Takes ports out of the testbed's block.
pub(crate) fn take<const N: usize>(layout: &Layout) -> Result<[u16; N]> {
    change(layout, |block| {
        let mut ports = [0; N];
        for port in &mut ports {
            *port = block.take()?;
        }
        Some(ports)
    })?
    .ok_or_else(|| Error::PortsUsedUp {
        ports: BLOCK,
        block: layout.ports(),
    })
}

/// Puts ports back that are no longer used.
pub(crate) fn put_back(layout: &Layout, ports: &[u16]) -> Result<()> {
    change(layout, |block| block.taken.retain(|port| !ports.contains(port)))
}

fn change<T>(layout: &Layout, change: impl FnOnce(&mut Block) -> T) -> Result<T> {
    let file = layout.ports();
    let _lock = Lock::acquire(&lock_beside(&file))?;
    let mut block = files::read_json::<Block>(&file)?.ok_or(Error::NoTestbed {
        dir: layout.dir().to_owned(),
    })?;
    let result = change(&mut block);
    files::write_json(&file, &block)?;
    Ok(result)
}

fn lock_beside(file: &Path) -> PathBuf {
    file.with_extension("lock")
}

// === impl Block ===

impl Block {
    fn take(&mut self) -> Option<u16> {
        let port = (self.first..self.first + BLOCK).find(|port| !self.taken.contains(port) && is_free(*port))?;
        self.taken.push(port);
        Some(port)
    }
}

/// Whether no program outside the testbed has the port.
fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{self, Look};
    use std::time::Duration;

    #[test]
    fn a_block_gives_each_port_once_and_skips_what_others_use() {
        // Of a range that no testbed claims.
        let mut block = Block {
            first: 31_000,
            taken: Vec::new(),
        };
        let one = block.take().unwrap();
        let other_program = (one + 1..one + BLOCK)
            .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .unwrap();
        let two = block.take().unwrap();
        assert!(two > one && two != other_program.local_addr().unwrap().port());
        // A program that another test starts holds every port of this one until it is that program.
        wait::until(Duration::from_secs(5), || {
            block.taken.clear();
            match block.take() {
                Some(port) if port == one => Look::Done(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .unwrap();
    }

    #[test]
    fn a_full_block_gives_nothing() {
        let mut block = Block {
            first: 31_000,
            taken: (31_000..31_000 + BLOCK).collect(),
        };
        assert_eq!(block.take(), None);
    }
}
