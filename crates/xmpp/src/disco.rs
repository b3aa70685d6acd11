//! Who somebody is and what it can do: service discovery (XEP-0030) and entity capabilities (XEP-0115).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;
use sha1::{Digest as _, Sha1};

use crate::xml::element;

/// Namespace of disco#info.
pub const INFO: &str = "http://jabber.org/protocol/disco#info";
/// Namespace of disco#items.
pub const ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Namespace of entity capabilities.
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// Names this software in capabilities.
pub const NODE: &str = "urn:x-stox:gateway";

/// What the component itself can do.
const GATEWAY_FEATURES: [&str; 7] =
    [INFO, ITEMS, CAPS, "jabber:iq:gateway", "jabber:iq:version", "jid\\20escaping", "urn:xmpp:ping"];

/// What a user behind the gateway can do. Clients show a call button by exactly these.
const USER_FEATURES: [&str; 13] = [
    CAPS,
    INFO,
    RFC5576,
    RFC5888,
    JINGLE,
    DTLS,
    RTP,
    RTP_AUDIO,
    "urn:xmpp:jingle:apps:rtp:rtcp-fb:0",
    "urn:xmpp:jingle:dtmf:0",
    "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0",
    ICE_UDP,
    JINGLE_MESSAGE,
];

const RFC5576: &str = "urn:ietf:rfc:5576"; // XEP-0339 §4
const RFC5888: &str = "urn:ietf:rfc:5888"; // XEP-0338 §4
const JINGLE: &str = crate::jingle::NS;
const DTLS: &str = "urn:xmpp:jingle:apps:dtls:0";
const RTP: &str = "urn:xmpp:jingle:apps:rtp:1";
const RTP_AUDIO: &str = "urn:xmpp:jingle:apps:rtp:audio";
const RTP_VIDEO: &str = "urn:xmpp:jingle:apps:rtp:video";
const ICE_UDP: &str = "urn:xmpp:jingle:transports:ice-udp:1";
const JINGLE_MESSAGE: &str = crate::jingle_message::NS;

/// An answer to disco#info (XEP-0030 §3).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DiscoInfo {
    /// `node`, which an answer repeats.
    pub node: Option<String>,
    /// Who it is.
    pub identities: Vec<Identity>,
    /// What it can do.
    pub features: Vec<String>,
}

/// Who somebody is (XEP-0030 §3.1). The order is that of XEP-0115 §5.1.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Identity {
    /// `gateway`, `client`, …
    pub category: String,
    /// `sip`, `pstn`, `phone`, …
    pub kind: String,
    /// `xml:lang`, or nothing.
    pub lang: String,
    /// A name to show, or nothing.
    pub name: String,
}

impl Identity {
    fn new(category: &str, kind: &str) -> Self {
        Self { category: category.to_owned(), kind: kind.to_owned(), lang: String::new(), name: "stox".to_owned() }
    }
}

impl DiscoInfo {
    /// The component itself: a gateway to SIP, and to the telephone network where there is a trunk.
    pub fn gateway(pstn: bool) -> Self {
        let mut identities = vec![Identity::new("gateway", "sip")];
        if pstn {
            identities.push(Identity::new("gateway", "pstn"));
        }
        Self { node: None, identities, features: GATEWAY_FEATURES.map(str::to_owned).to_vec() }
    }

    /// A user behind the gateway: a phone.
    pub fn user(video: bool) -> Self {
        let mut features = USER_FEATURES.map(str::to_owned).to_vec();
        if video {
            features.push(RTP_VIDEO.to_owned());
        }
        Self { node: None, identities: vec![Identity::new("client", "phone")], features }
    }

    /// Reads the answer to a disco#info query: the `<query/>`.
    pub fn parse(query: &Element) -> Option<Self> {
        if !query.is("query", INFO) {
            return None;
        }
        let mut info = Self { node: query.attr("node").map(str::to_owned), ..Self::default() };
        for child in query.children().filter(|child| child.has_ns(INFO)) {
            let attribute = |name: &str| child.attr(name).unwrap_or_default().to_owned();
            match child.name() {
                "identity" => info.identities.push(Identity {
                    category: attribute("category"),
                    kind: attribute("type"),
                    lang: child.attr_ns(rxml::XMLNS_XML, "lang").unwrap_or_default().to_owned(),
                    name: attribute("name"),
                }),
                "feature" => info.features.push(attribute("var")),
                _ => (),
            }
        }
        Some(info)
    }

    /// Writes the `<query/>`.
    pub fn to_element(&self) -> Element {
        let mut query = element!("query", INFO, "node" = self.node.as_deref());
        for identity in &self.identities {
            let mut element =
                element!("identity", INFO, "category" = identity.category.as_str(), "type" = identity.kind.as_str());
            if !identity.lang.is_empty() {
                let name = rxml::xml_ncname!("lang").to_owned();
                element.set_attr(rxml::Namespace::XML, name, identity.lang.as_str());
            }
            if !identity.name.is_empty() {
                element.set_attr(rxml::Namespace::NONE, rxml::xml_ncname!("name").to_owned(), identity.name.as_str());
            }
            query.append_child(element);
        }
        for feature in &self.features {
            query.append_child(element!("feature", INFO, "var" = feature.as_str()));
        }
        query
    }

    /// Says whether a feature is there.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    /// Says whether a call can be offered: Jingle, RTP and ICE. `rtp:audio` is not asked for, since old clients lack it.
    pub fn can_call(&self) -> bool {
        [JINGLE, RTP, ICE_UDP].into_iter().all(|feature| self.has(feature))
    }

    /// Says whether media can be encrypted (XEP-0320).
    pub fn can_encrypt(&self) -> bool {
        self.has(DTLS)
    }

    /// Says whether a call can be proposed first (XEP-0353).
    pub fn can_be_proposed_to(&self) -> bool {
        self.has(JINGLE_MESSAGE)
    }

    /// The verification string (XEP-0115 §5.1), hashed with SHA-1. Without data forms, which we do not send.
    pub fn ver(&self) -> String {
        let mut identities = self.identities.clone();
        identities.sort();
        let mut features = self.features.clone();
        features.sort();
        let mut hash = Sha1::new();
        for Identity { category, kind, lang, name } in identities {
            hash.update(format!("{category}/{kind}/{lang}/{name}<"));
        }
        for feature in features {
            hash.update(format!("{feature}<"));
        }
        STANDARD.encode(hash.finalize())
    }

    /// What presence tells about this.
    pub fn caps(&self) -> Caps {
        Caps { node: NODE.to_owned(), ver: self.ver() }
    }
}

/// What presence tells about its sender's disco#info (XEP-0115 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caps {
    /// The software.
    pub node: String,
    /// The hash.
    pub ver: String,
}

impl Caps {
    /// Finds the `<c/>` among a presence's children, if its hash is SHA-1.
    pub fn parse(children: &[Element]) -> Option<Self> {
        let caps = children.iter().find(|child| child.is("c", CAPS))?;
        if caps.attr("hash") != Some("sha-1") {
            return None;
        }
        Some(Self { node: caps.attr("node")?.to_owned(), ver: caps.attr("ver")?.to_owned() })
    }

    /// Writes the `<c/>`.
    pub fn to_element(&self) -> Element {
        element!("c", CAPS, "hash" = "sha-1", "node" = self.node.as_str(), "ver" = self.ver.as_str())
    }

    /// The node to ask for the features behind the hash (XEP-0115 §6.2).
    pub fn query_node(&self) -> String {
        format!("{}#{}", self.node, self.ver)
    }
}

/// Asks for disco#info, of a node if there is one.
pub fn info_query(node: Option<&str>) -> Element {
    element!("query", INFO, "node" = node)
}

/// Answers disco#items: there are none (XEP-0030 §4).
pub fn no_items(node: Option<&str>) -> Element {
    element!("query", ITEMS, "node" = node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_xep_0115_has_its_hash() {
        let exodus = DiscoInfo {
            node: None,
            identities: vec![Identity { name: "Exodus 0.9.1".into(), ..Identity::new("client", "pc") }],
            features: [CAPS, "http://jabber.org/protocol/muc", INFO, ITEMS].map(str::to_owned).to_vec(),
        };
        assert_eq!(exodus.ver(), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    #[test]
    fn info_parses_back() {
        for info in [DiscoInfo::gateway(true), DiscoInfo::gateway(false), DiscoInfo::user(true)] {
            let mut asked = DiscoInfo { node: Some(info.caps().query_node()), ..info };
            asked.identities.push(Identity { lang: "el".into(), ..Identity::new("client", "pc") });
            assert_eq!(DiscoInfo::parse(&asked.to_element()), Some(asked));
        }
    }

    #[test]
    fn a_user_can_be_called_by_every_client_that_looks_at_features() {
        let user = DiscoInfo::user(false);
        assert!(user.can_call() && user.can_be_proposed_to());
        assert!(user.has(RTP_AUDIO) && user.can_encrypt());
        assert!(!user.has(RTP_VIDEO) && DiscoInfo::user(true).has(RTP_VIDEO));
        assert!(!user.has("urn:ietf:rfc:3264"), "it would stop the clients from trickling");
    }

    #[test]
    fn caps_are_found_in_presence() {
        let caps = DiscoInfo::user(false).caps();
        let children = [Element::bare("show", "jabber:client"), caps.to_element()];
        assert_eq!(Caps::parse(&children), Some(caps));
        assert_eq!(Caps::parse(&children[..1]), None);
    }
}
