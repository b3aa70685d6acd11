//! Who we are and what we can do: XEP-0030, XEP-0115, XEP-0092, XEP-0199, XEP-0202, XEP-0100 §6.

use minidom::Element;

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

/// Who somebody is (XEP-0030 §3.1).
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

/// What presence tells about its sender's disco#info (XEP-0115 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caps {
    /// The software.
    pub node: String,
    /// The hash.
    pub ver: String,
}

impl DiscoInfo {
    /// The component itself: a gateway to SIP, and to the telephone network where there is a trunk.
    pub fn gateway(pstn: bool) -> Self {
        let _ = pstn;
        Self::default()
    }

    /// A user behind the gateway: a phone.
    pub fn user(video: bool) -> Self {
        let _ = video;
        Self::default()
    }

    /// Reads the answer to a disco#info query: the `<query/>`.
    pub fn parse(query: &Element) -> Option<Self> {
        let _ = query;
        None
    }

    /// Writes the `<query/>`.
    pub fn to_element(&self) -> Element {
        Element::bare("query", INFO)
    }

    /// Says whether a feature is there.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    /// Says whether a call can be offered: Jingle, RTP, audio and ICE.
    pub fn can_call(&self) -> bool {
        false
    }

    /// Says whether a call can be proposed first (XEP-0353).
    pub fn can_be_proposed_to(&self) -> bool {
        false
    }

    /// The verification string's SHA-1 (XEP-0115 §5.1).
    pub fn ver(&self) -> String {
        String::new()
    }
}

impl Caps {
    /// Finds the `<c/>` among a presence's children.
    pub fn parse(children: &[Element]) -> Option<Self> {
        let _ = children;
        None
    }

    /// Writes the `<c/>`.
    pub fn to_element(&self) -> Element {
        Element::bare("c", CAPS)
    }
}

/// Namespace of disco#info.
pub const INFO: &str = "http://jabber.org/protocol/disco#info";
/// Namespace of disco#items.
pub const ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Namespace of entity capabilities.
pub const CAPS: &str = "http://jabber.org/protocol/caps";
