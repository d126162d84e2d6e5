//! Hearing of changes.

use bytes::BytesMut;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::client::{LocalApi, LocalApiCall, broken};
use crate::excerpt::excerpt;
use crate::json::{self, null_is_default};
use crate::{BackendState, Error};

const ENDPOINT: &str = "watch-ipn-bus";

/// `ipn.NotifyInitialState`: the first notification tells the state.
const INITIAL_STATE: u64 = 1 << 1;

/// `ipn.NotifyPeerPatches`: tell of peers that come, go or change. Small changes come as patches and not as whole
/// nodes. `ipn.NotifyRateLimit` does not go with it (`ipn.ValidateNotifyWatchOpt`). A tailscaled that does not know
/// the bit tells of such changes with the whole `NetMap`.
const PEER_PATCHES: u64 = 1 << 15;

/// The patches that say nothing about who a peer is (`tailcfg.PeerChange`).
const HARMLESS_PATCHES: [&str; 5] = ["NodeID", "DERPRegion", "Endpoints", "Online", "LastSeen"];

/// What changed. Fields that say nothing mean that nothing of the kind changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Notification {
    /// The new state of tailscaled. The first notification of a stream always tells it.
    pub state: Option<BackendState>,
    /// Whether what tailscaled knows of the tailnet changed: this node, peers, users.
    pub netmap_changed: bool,
    /// The beginning of something that tailscaled finds worth telling a person.
    pub message: Option<String>,
}

/// Notifications as they come. It ends with an error, never without.
pub type Notifications = BoxStream<'static, Result<Notification, Error>>;

/// The part of `ipn.Notify` that is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notify {
    state: Option<i64>,
    err_message: Option<String>,
    net_map: Option<IgnoredAny>,
    self_change: Option<IgnoredAny>,
    peers_changed: Option<IgnoredAny>,
    peers_removed: Option<IgnoredAny>,
    user_profiles: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "null_is_default")]
    peer_changed_patch: Vec<Map<String, Value>>,
}

/// A body, line by line.
struct Lines {
    body: Incoming,
    received: BytesMut,
    /// How much of `received` has no end of line.
    searched: usize,
    limit: usize,
}

// === impl LocalApi ===

impl LocalApi {
    /// Tells of changes from now on. The first notification is the present state.
    ///
    /// **A changed policy is not always told.** Capabilities come from the packet filter. When only that changed,
    /// tailscaled takes the new one without a notification (1.102, `LocalBackend.UpdatePacketFilter`). A caller that
    /// has to notice a capability that went away asks [`whois`](Self::whois) again from time to time. A notification is
    /// a reason to do so at once.
    ///
    /// The stream ends with an error when the connection breaks ([`Error::Interrupted`]), also when tailscaled gave up
    /// on a slow reader. What happened until the caller watches again is not told, so it must check everything then.
    /// Notifications may come in bursts; nothing limits their rate.
    pub async fn watch(&self) -> Result<Notifications, Error> {
        let question = LocalApiCall {
            endpoint: ENDPOINT,
            path: &format!("watch-ipn-bus?mask={}", INITIAL_STATE | PEER_PATCHES),
            time: self.limits().call,
        };
        let lines = Lines::new(self.listen(question).await?, self.limits().notification_bytes);
        Ok(stream::try_unfold(lines, |mut lines| async move {
            loop {
                let notification = Notification::read(&lines.next().await?)?;
                if notification != Notification::default() {
                    return Ok(Some((notification, lines)));
                }
            }
        })
        .boxed())
    }
}

// === impl Notification ===

impl Notification {
    fn read(line: &[u8]) -> Result<Self, Error> {
        json::read(ENDPOINT, line).map(|notify: Notify| Self {
            netmap_changed: notify.changes_netmap(),
            state: notify.state.map(BackendState::from_number),
            message: notify.err_message.as_deref().map(excerpt),
        })
    }
}

// === impl Notify ===

impl Notify {
    fn changes_netmap(&self) -> bool {
        let parts = [
            &self.net_map,
            &self.self_change,
            &self.peers_changed,
            &self.peers_removed,
            &self.user_profiles,
        ];
        let is_harmless = |field: &String| HARMLESS_PATCHES.contains(&field.as_str());
        parts.into_iter().any(Option::is_some) || !self.peer_changed_patch.iter().flat_map(Map::keys).all(is_harmless)
    }
}

// === impl Lines ===

impl Lines {
    fn new(body: Incoming, limit: usize) -> Self {
        Self {
            body,
            received: BytesMut::new(),
            searched: 0,
            limit,
        }
    }

    async fn next(&mut self) -> Result<BytesMut, Error> {
        loop {
            let end = self.end_of_line();
            if end.unwrap_or(self.received.len()) > self.limit {
                return Err(Error::TooLarge {
                    endpoint: ENDPOINT,
                    limit: self.limit,
                });
            }
            if let Some(end) = end {
                self.searched = 0;
                return Ok(self.received.split_to(end + 1));
            }
            self.receive().await?;
        }
    }

    fn end_of_line(&mut self) -> Option<usize> {
        let unsearched = self.received.iter().skip(self.searched);
        let end = unsearched.enumerate().find(|(_, byte)| **byte == b'\n');
        let end = end.map(|(distance, _)| self.searched + distance);
        self.searched = end.unwrap_or(self.received.len());
        end
    }

    async fn receive(&mut self) -> Result<(), Error> {
        match self.body.frame().await {
            Some(Ok(frame)) => self
                .received
                .extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
            Some(Err(error)) => return Err(broken(ENDPOINT, &error)),
            None => {
                return Err(Error::Interrupted {
                    endpoint: ENDPOINT,
                    why: "tailscaled ended the stream".to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn notification() {
        bolero::check!().for_each(|line: &[u8]| {
            if let Ok(notification) = Notification::read(line) {
                assert!(notification.message.is_none_or(|message| message.len() < 1000));
            }
        });
    }
}
