//! Who is there, and what it can do: presence, service discovery, capabilities (RFC 6121 §4, XEP-0030, XEP-0115).
//!
//! ```text
//! client                      gateway                 client                  gateway
//!   | presence subscribe        |                       | presence, caps        |
//!   |-------------------------->|                       |---------------------->|
//!   | subscribed, subscribe     |                       | disco#info get        |
//!   | available, caps           |                       |<----------------------|  once for each hash
//!   |<--------------------------|                       | result                |
//!   | disco#info get            |                       |---------------------->|
//!   |-------------------------->|                       |      now we know whether it can be proposed to
//!   | result: can be called     |
//!   |<--------------------------|
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use jid::{BareJid, FullJid, Jid};
use tracing::Level;
use xmpp::disco::{Caps, DiscoInfo, info_query, no_items};
use xmpp::presence;
use xmpp::query::{Question as Query, gateway_address, gateway_prompt, time, version};
use xmpp::stanza::{Condition, Payload, PresenceKind, Stanza, StanzaError};

use crate::Config;
use crate::caller;
use crate::outbox::{Context, Question};

/// Devices that are remembered at once; of further ones we know nothing, which is no harm.
const MAX_DEVICES: usize = 20_000;
/// Hashes whose features are remembered.
const MAX_HASHES: usize = 2_000;

/// Who is there.
pub(crate) struct Directory {
    gateway: DiscoInfo,
    user: DiscoInfo,
    /// The devices that sent us presence, by user and resource.
    devices: HashMap<BareJid, BTreeMap<String, Device>>,
    device_count: usize,
    /// What stands behind a hash that was checked.
    hashes: HashMap<String, Ability>,
}

#[derive(Clone, Debug)]
struct Device {
    /// The hash that it tells of itself (XEP-0115).
    ver: Option<String>,
    /// What that stands for, once it is known.
    ability: Option<Ability>,
}

/// What a device can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ability {
    call: bool,
    propose: bool,
    encrypt: bool,
}

/// How a user is to be called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// By a proposal to all of its devices (XEP-0353).
    Propose,
    /// By a session-initiate to one device after the other, since none of them knows proposals.
    Initiate {
        /// The devices.
        devices: Vec<FullJid>,
        /// None of them knows DTLS.
        plain: bool,
    },
}

impl Directory {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            gateway: DiscoInfo::gateway(!config.trunks.is_empty()),
            user: DiscoInfo::user(config.video),
            devices: HashMap::new(),
            device_count: 0,
            hashes: HashMap::new(),
        }
    }

    /// Forgets who is there: nobody tells us any more when they leave.
    pub(crate) fn forget(&mut self) {
        self.devices.clear();
        self.device_count = 0;
    }

    /// Says whether any device of a user has told us that it is there.
    pub(crate) fn knows(&self, user: &BareJid) -> bool {
        self.devices.contains_key(user)
    }

    /// How a user is best called. Where nothing is known, by a proposal, which reaches devices that are asleep too.
    pub(crate) fn way_to(&self, user: &BareJid) -> Way {
        let devices = self.devices.get(user);
        let known = || devices.into_iter().flatten();
        if known().any(|(_, device)| device.ability.is_none_or(|ability| ability.propose)) {
            return Way::Propose;
        }
        let callable = || known().filter(|(_, device)| device.ability.is_some_and(|ability| ability.call));
        let plain = !callable().any(|(_, device)| device.ability.is_some_and(|ability| ability.encrypt));
        let devices: Vec<FullJid> =
            callable().filter_map(|(resource, _)| user.with_resource_str(resource).ok()).collect();
        if devices.is_empty() { Way::Propose } else { Way::Initiate { devices, plain } }
    }

    /// Takes a presence.
    pub(crate) fn handle_presence(&mut self, stanza: &Stanza, kind: PresenceKind, cx: &mut Context<'_>) {
        let us = Jid::from(stanza.to.to_bare());
        let them = Jid::from(stanza.from.to_bare());
        match kind {
            PresenceKind::Subscribe => {
                cx.out.stanza(presence::bare(us.clone(), them.clone(), PresenceKind::Subscribed));
                cx.out.stanza(presence::bare(us.clone(), them.clone(), PresenceKind::Subscribe));
                self.tell_presence(&us, them, cx);
            }
            PresenceKind::Probe => self.tell_presence(&us, stanza.from.clone(), cx),
            PresenceKind::Unsubscribe => {
                cx.out.stanza(presence::bare(us, them, PresenceKind::Unsubscribed));
            }
            PresenceKind::Subscribed | PresenceKind::Unsubscribed => (), // we keep no roster
            PresenceKind::Available => self.note(stanza, cx),
            PresenceKind::Unavailable => self.leave(&stanza.from),
        }
    }

    fn tell_presence(&self, us: &Jid, to: Jid, cx: &mut Context<'_>) {
        let (from, caps) = match us.node() {
            None => (us.clone(), self.gateway.caps()),
            Some(_) => match caller::with_resource(&us.to_bare()) {
                Some(full) => (Jid::from(full), self.user.caps()),
                None => return,
            },
        };
        cx.out.stanza(presence::available(from, to, &caps));
    }

    fn note(&mut self, stanza: &Stanza, cx: &mut Context<'_>) {
        let Payload::Presence { children, .. } = &stanza.payload else { return };
        let Some(resource) = stanza.from.resource() else { return };
        let caps = Caps::parse(children);
        let (ver, node) = (caps.as_ref().map(|caps| caps.ver.clone()), caps.as_ref().map(Caps::query_node));
        let user = stanza.from.to_bare();
        let known = self.devices.get(&user).and_then(|devices| devices.get(resource.as_str()));
        if known.is_some_and(|device| device.ver == ver) {
            return; // it was asked already
        }
        if known.is_none() {
            if self.device_count >= MAX_DEVICES {
                cx.out.count("too-many-devices");
                return;
            }
            self.device_count += 1;
        }
        let ability = ver.as_ref().and_then(|ver| self.hashes.get(ver)).copied();
        let device = Device { ver: ver.clone(), ability };
        self.devices.entry(user).or_default().insert(resource.as_str().to_owned(), device);
        if ability.is_none() {
            let payload = Payload::Query { get: true, child: info_query(node.as_deref()) };
            let us = caller::with_resource(&stanza.to.to_bare()).map_or(stanza.to.clone(), Jid::from);
            cx.out.ask(&us, &stanza.from, payload, Question::Features(ver), cx.now);
        }
    }

    fn leave(&mut self, from: &Jid) {
        let user = from.to_bare();
        let Some(devices) = self.devices.get_mut(&user) else { return };
        match from.resource() {
            Some(resource) => self.device_count -= usize::from(devices.remove(resource.as_str()).is_some()),
            None => self.device_count -= std::mem::take(devices).len(),
        }
        if devices.is_empty() {
            self.devices.remove(&user);
        }
    }

    /// Learns what a device answered to our question. A hash is believed only where it fits (XEP-0115 §5.4).
    pub(crate) fn handle_features(&mut self, device: &Jid, ver: Option<String>, payload: &Payload) {
        let Payload::Result(Some(query)) = payload else { return };
        let Some(info) = DiscoInfo::parse(query) else { return };
        let ability =
            Ability { call: info.can_call(), propose: info.can_be_proposed_to(), encrypt: info.can_encrypt() };
        let of_user = self.devices.get_mut(&device.to_bare());
        let known = of_user.zip(device.resource()).and_then(|(devices, name)| devices.get_mut(name.as_str()));
        if let Some(known) = known {
            known.ability = Some(ability);
        }
        if let Some(ver) = ver.filter(|ver| *ver == info.ver())
            && self.hashes.len() < MAX_HASHES
        {
            self.hashes.insert(ver, ability);
        }
    }

    /// Answers an IQ that is not Jingle. Each gets one answer (RFC 6120 §8.2.3).
    pub(crate) fn answer(&self, stanza: &Stanza, config: &Config, now: Instant) -> Stanza {
        match self.find_answer(stanza, config, now) {
            Ok(child) => stanza.result(child),
            Err(condition) => stanza.error(StanzaError::new(condition)).unwrap_or_else(|| stanza.result(None)),
        }
    }

    fn find_answer(
        &self,
        stanza: &Stanza,
        config: &Config,
        now: Instant,
    ) -> Result<Option<minidom::Element>, Condition> {
        let to_gateway = stanza.to.node().is_none();
        Ok(match Query::parse(&stanza.payload).ok_or(Condition::ServiceUnavailable)? {
            Query::Info(node) => {
                let info = if to_gateway { &self.gateway } else { &self.user };
                if node.as_ref().is_some_and(|node| *node != info.caps().query_node()) {
                    return Err(Condition::ItemNotFound);
                }
                Some(DiscoInfo { node, ..info.clone() }.to_element())
            }
            Query::Items(node) => Some(no_items(node.as_deref())),
            Query::Version => Some(version(&config.version)),
            Query::Ping => None,
            Query::GatewayPrompt if to_gateway => Some(gateway_prompt()),
            Query::GatewayAddress(prompt) if to_gateway => {
                let jid = caller::jid_of_prompt(config, &prompt).ok_or(Condition::JidMalformed)?;
                Some(gateway_address(jid.as_str()))
            }
            Query::Time => {
                let (moment, then) = config.clock.ok_or(Condition::ServiceUnavailable)?;
                Some(time(then + now.saturating_duration_since(moment)))
            }
            Query::GatewayPrompt | Query::GatewayAddress(_) => return Err(Condition::ServiceUnavailable),
        })
    }
}

/// Answers a message that somebody wrote: nobody here reads. Everything else, such as a receipt, needs no answer.
pub(crate) fn answer_message(stanza: &Stanza, cx: &mut Context<'_>) {
    let Payload::Message { kind, children } = &stanza.payload else { return };
    let written = children.iter().any(|child| child.name() == "body");
    if written
        && (kind == "chat" || kind == "normal")
        && let Some(error) = stanza.error(StanzaError::new(Condition::ServiceUnavailable))
    {
        cx.out.log(None, Level::DEBUG, "refused a message, which nobody here could read");
        cx.out.stanza(error);
    }
}
