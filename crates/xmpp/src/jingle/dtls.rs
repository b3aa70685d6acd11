//! Certificate fingerprints (XEP-0320).

use minidom::Element;
use model::{DtlsParameters, Fingerprint, HashFunction, Setup};

use super::Action;
use crate::xml::{element, value};

pub(super) const NS: &str = "urn:xmpp:jingle:apps:dtls:0";

/// Reads all fingerprints of a transport.
///
/// Those of unknown hash functions or wrong length are passed over; the result then holds the others, or none at all,
/// which no certificate matches: a peer that spoke of DTLS never gets plain RTP.
pub(super) fn parse(transport: &Element, action: Action) -> Option<DtlsParameters> {
    let elements: Vec<&Element> = transport.children().filter(|child| child.is("fingerprint", NS)).collect();
    if elements.is_empty() {
        return None;
    }
    let setup = elements.iter().find_map(|fingerprint| value(fingerprint, "setup")?.parse().ok());
    let fingerprints = elements.iter().filter_map(|fingerprint| parse_fingerprint(fingerprint)).collect();
    Some(DtlsParameters { fingerprints, setup: setup.unwrap_or(default_setup(action)), tls_id: None })
}

fn parse_fingerprint(fingerprint: &Element) -> Option<Fingerprint> {
    let hash: HashFunction = value(fingerprint, "hash")?.parse().ok()?;
    let hex: String = fingerprint.text().split_whitespace().collect();
    Fingerprint::parse(hash, &hex).ok()
}

/// What a missing `setup` means. Peers from before it was mandatory offered either role and answered as clients.
const fn default_setup(action: Action) -> Setup {
    match action {
        Action::SessionAccept | Action::ContentAccept | Action::TransportAccept => Setup::Active,
        Action::ContentAdd
        | Action::ContentModify
        | Action::ContentReject
        | Action::ContentRemove
        | Action::DescriptionInfo
        | Action::SecurityInfo
        | Action::SessionInfo
        | Action::SessionInitiate
        | Action::SessionTerminate
        | Action::TransportInfo
        | Action::TransportReject
        | Action::TransportReplace => Setup::Actpass,
    }
}

/// Upper-case hexadecimal without white space: some clients compare text.
pub(super) fn to_elements(dtls: &DtlsParameters) -> impl Iterator<Item = Element> {
    dtls.fingerprints.iter().map(|fingerprint| {
        let mut element =
            element!("fingerprint", NS, "hash" = fingerprint.hash.as_str(), "setup" = dtls.setup.as_str());
        element.append_text(fingerprint.hex());
        element
    })
}
