//! From text to streams, m-line by m-line.

use std::net::{IpAddr, SocketAddr};

use model::{
    Bandwidth, DtlsParameters, Fingerprint, HashFunction, IceParameters, MediaKind, MediaPath, MediaStream, Profile,
    Secret, Setup, StreamId, Surroundings,
};

use super::document::{self, MAX_MEDIA};
use super::{Role, SdpError, candidate, codec, crypto, media_word};

/// Of one m-line; RFC 8445 §6.1.2.5 pairs no more than 100.
const MAX_CANDIDATES: usize = 100;
const MAX_KEYS: usize = 16;

/// An SDP taken apart.
pub(super) struct Read {
    pub(super) lines: Vec<Line>,
    /// The mids of the first `a=group:BUNDLE`.
    pub(super) bundle: Vec<String>,
    pub(super) times: Vec<sdp_types::Time>,
    pub(super) losses: Vec<String>,
}

/// One m-line. The number of its stream is not known yet.
pub(super) struct Line {
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) formats: String,
    pub(super) mid: Option<String>,
    /// `None`: a kind of media or a transport that we do not carry.
    pub(super) stream: Option<MediaStream>,
}

impl Line {
    /// The m-line that an answer should have had.
    pub(super) fn missing(media: &str) -> Self {
        let stream = kind_of(media).map(|kind| {
            let mut stream = MediaStream::new(StreamId(0), "", kind);
            stream.rejected = true;
            stream
        });
        Self { media: media.to_owned(), proto: String::new(), formats: String::new(), mid: None, stream }
    }
}

pub(super) fn read(text: &str, role: Role) -> Result<Read, SdpError> {
    let mut losses = Vec::new();
    let sdp = sdp_types::Session::parse(tidy(text, &mut losses)?.as_bytes())
        .map_err(|error| SdpError::Syntax(error.to_string()))?;
    if sdp.medias.len() > MAX_MEDIA {
        return Err(SdpError::TooLarge("m-lines"));
    }
    let group = values(&sdp.attributes, "group").map(|group| group.split_whitespace().collect::<Vec<_>>());
    let bundle = group
        .filter_map(|words| words.split_first().filter(|(first, _)| **first == "BUNDLE").map(|(_, mids)| mids.to_vec()))
        .next();
    let bundle: Vec<String> = bundle.unwrap_or_default().into_iter().map(str::to_owned).collect();
    let lines = sdp.medias.iter().map(|media| Section { sdp: &sdp, media, role }.read(&bundle, &mut losses)).collect();
    Ok(Read { lines, bundle, times: sdp.times, losses })
}

/// Drops the lines that nobody here reads, so that a mistake in them harms nobody, and the spaces that the grammar
/// does not allow but phones send.
fn tidy(text: &str, losses: &mut Vec<String>) -> Result<String, SdpError> {
    let mut tidy = String::with_capacity(text.len());
    for line in document::lines(text)?.into_iter().map(str::trim_end) {
        let Some((key, value)) = line.split_once('=') else {
            losses.push("a line without =".to_owned());
            continue;
        };
        let readable = match key {
            "v" | "a" | "c" => true,
            "m" => {
                let words: Vec<&str> = value.split_whitespace().collect();
                tidy.push_str("m=");
                tidy.push_str(&words.join(" "));
                tidy.push_str("\r\n");
                continue;
            }
            "b" => value.split_once(':').is_some_and(|(_, number)| number.parse::<u64>().is_ok()),
            "t" => value.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).count() == 2,
            _ => continue,
        };
        if readable {
            tidy.push_str(line);
            tidy.push_str("\r\n");
        } else {
            losses.push(format!("unreadable {key}= line"));
        }
    }
    Ok(tidy)
}

fn kind_of(media: &str) -> Option<MediaKind> {
    [MediaKind::Audio, MediaKind::Video].into_iter().find(|kind| media_word(*kind).eq_ignore_ascii_case(media))
}

/// An m-line with what the session level says for it.
pub(super) struct Section<'a> {
    pub(super) sdp: &'a sdp_types::Session,
    pub(super) media: &'a sdp_types::Media,
    pub(super) role: Role,
}

impl Section<'_> {
    fn read(&self, bundle: &[String], losses: &mut Vec<String>) -> Line {
        Line {
            media: self.media.media.clone(),
            proto: self.media.proto.clone(),
            formats: self.media.fmt.clone(),
            mid: self.own("mid").filter(|mid| !mid.is_empty()).map(str::to_owned),
            stream: self.stream(bundle, losses),
        }
    }

    fn stream(&self, bundle: &[String], losses: &mut Vec<String>) -> Option<MediaStream> {
        let Some(kind) = kind_of(&self.media.media) else {
            losses.push(format!("media {}", self.media.media));
            return None;
        };
        let Ok(profile) = self.media.proto.parse::<Profile>() else {
            losses.push(format!("transport {} of {}", self.media.proto, self.media.media));
            return None;
        };
        let address = self.address(losses);
        if address.is_some_and(|address| address.is_multicast()) {
            losses.push("a multicast address".to_owned());
            return None;
        }
        let mut stream = MediaStream::new(StreamId(0), self.own("mid").unwrap_or_default(), kind);
        let bundle_only = self.has("bundle-only") && bundle.contains(&stream.name);
        stream.rejected = self.media.port == 0 && !bundle_only;
        stream.codecs = codec::read(self.media, losses);
        stream.feedback = codec::read_feedback(self.media, "*");
        stream.extensions = codec::read_extensions(self.sdp, self.media, losses);
        stream.rtcp_reduced_size = self.has("rtcp-rsize");
        stream.ptime = self.milliseconds("ptime");
        stream.maxptime = self.milliseconds("maxptime");
        stream.bandwidth =
            self.media.bandwidths.iter().map(|b| Bandwidth { kind: b.bwtype.clone(), value: b.bandwidth }).collect();
        stream.path = self.path(profile, address, losses);
        stream.direction = codec::read_direction(self.sdp, self.media);
        if address.is_some_and(|address| address.is_unspecified()) && stream.path.ice.is_none() {
            // Hold as in RFC 2543; with ICE it is the placeholder of an agent that trickles (RFC 8840 §4.1.1).
            stream.direction = model::Direction::Inactive;
        }
        Some(stream)
    }

    fn path(&self, profile: Profile, address: Option<IpAddr>, losses: &mut Vec<String>) -> MediaPath {
        let ice = self.ice(losses);
        // Beside ICE such an address stands for none; else it says that nothing is to be sent (RFC 3264 §8.4).
        let named = address.filter(|address| ice.is_none() || !address.is_unspecified());
        let rtp = named.filter(|_| self.media.port != 0).map(|ip| SocketAddr::new(ip, self.media.port));
        let trickles = self.both("ice-options").any(|options| options.split_whitespace().any(|o| o == "trickle"));
        MediaPath {
            rtp,
            rtcp: rtp.and_then(|rtp| self.rtcp(rtp)),
            rtcp_mux: self.has("rtcp-mux") || self.has("rtcp-mux-only"),
            rtcp_mux_only: self.has("rtcp-mux-only"),
            profile,
            candidates: if ice.is_some() { self.candidates(losses) } else { Vec::new() },
            end_of_candidates: ice.is_some() && (!trickles || self.both_has("end-of-candidates")),
            ice,
            dtls: self.dtls(losses),
            crypto: self.crypto(losses),
            surroundings: Surroundings::default(),
        }
    }

    /// The address of the m-line's `c=`, or of the session's. A name is a loss: whoever could look it up is not here.
    fn address(&self, losses: &mut Vec<String>) -> Option<IpAddr> {
        let connection = self.media.connections.first().or(self.sdp.connection.as_ref())?;
        let address = connection.try_address().ok().map(|address| address.ip);
        if address.is_none() {
            losses.push("an address that is no IP address".to_owned());
        }
        address
    }

    /// Where RTCP goes: `a=rtcp:port [IN IP4 address]` (RFC 3605 §2.1), or the next port.
    fn rtcp(&self, rtp: SocketAddr) -> Option<SocketAddr> {
        let Some(mut words) = self.own("rtcp").map(str::split_whitespace) else {
            return Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?));
        };
        let port = words.next()?.parse().ok().filter(|port| *port != 0)?;
        let address = words.nth(2).and_then(|address| address.parse().ok());
        Some(SocketAddr::new(address.unwrap_or(rtp.ip()), port))
    }

    pub(super) fn ice(&self, losses: &mut Vec<String>) -> Option<IceParameters> {
        let (ufrag, pwd) = (self.inherited("ice-ufrag")?, self.inherited("ice-pwd")?);
        if !(4..=256).contains(&ufrag.len()) || !(22..=256).contains(&pwd.len()) {
            losses.push("ICE credentials of a wrong length".to_owned());
            return None;
        }
        Some(IceParameters {
            ufrag: ufrag.to_owned(),
            pwd: Secret::new(pwd.to_owned()),
            lite: self.both_has("ice-lite"),
        })
    }

    pub(super) fn candidates(&self, losses: &mut Vec<String>) -> Vec<model::Candidate> {
        let values: Vec<&str> = self.all("candidate").collect();
        let candidates: Vec<_> =
            values.iter().filter_map(|value| candidate::read(value)).take(MAX_CANDIDATES).collect();
        if candidates.len() < values.len() {
            losses.push(format!("{} candidates of no use here", values.len() - candidates.len()));
        }
        candidates
    }

    fn dtls(&self, losses: &mut Vec<String>) -> Option<DtlsParameters> {
        let own: Vec<&str> = self.all("fingerprint").collect();
        let values = if own.is_empty() { self.session("fingerprint").collect() } else { own };
        let fingerprints: Vec<Fingerprint> =
            values.iter().take(MAX_KEYS).filter_map(|value| read_fingerprint(value)).collect();
        if fingerprints.len() < values.len() {
            losses.push(format!("{} fingerprints", values.len() - fingerprints.len()));
        }
        if fingerprints.is_empty() {
            return None;
        }
        // RFC 4145 §4.1.
        let default = match self.role {
            Role::Offer => Setup::Active,
            Role::Answer => Setup::Passive,
        };
        let setup = self.inherited("setup").and_then(|setup| setup.trim().parse().ok()).unwrap_or(default);
        let tls_id = self.inherited("tls-id").map(|name| name.trim().to_owned());
        Some(DtlsParameters { fingerprints, setup, tls_id })
    }

    fn crypto(&self, losses: &mut Vec<String>) -> Vec<model::Crypto> {
        let mut understood: Vec<model::Crypto> = Vec::new();
        for value in self.all("crypto").take(MAX_KEYS) {
            match crypto::read(value) {
                Ok(crypto) if understood.iter().all(|other| other.tag != crypto.tag) => understood.push(crypto),
                Ok(_) => losses.push("crypto: tag used twice".to_owned()),
                Err(reason) => losses.push(format!("crypto: {reason}")),
            }
        }
        understood
    }

    fn milliseconds(&self, name: &str) -> Option<u32> {
        read_milliseconds(self.own(name)?)
    }

    fn has(&self, name: &str) -> bool {
        self.media.has_attribute(name)
    }

    pub(super) fn both_has(&self, name: &str) -> bool {
        self.has(name) || self.sdp.has_attribute(name)
    }

    /// Every value of the m-line's attributes of a name.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.media.attributes, name)
    }

    fn session<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.sdp.attributes, name)
    }

    fn both<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).chain(self.session(name))
    }

    pub(super) fn own(&self, name: &str) -> Option<&str> {
        values(&self.media.attributes, name).next()
    }

    /// The m-line's value, else the session's.
    pub(super) fn inherited(&self, name: &str) -> Option<&str> {
        self.own(name).or_else(|| values(&self.sdp.attributes, name).next())
    }
}

fn values<'a>(attributes: &'a [sdp_types::Attribute], name: &str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.attribute == name).filter_map(|a| a.value.as_deref())
}

/// The value of `a=ptime` and `a=maxptime`; fractions of a millisecond occur.
pub(super) fn read_milliseconds(value: &str) -> Option<u32> {
    let value = value.trim();
    value.split_once('.').map_or(value, |(whole, _)| whole).parse().ok().filter(|ms| *ms != 0)
}

/// `sha-256 AA:BB:…`; the name of the hash in capitals occurs.
fn read_fingerprint(value: &str) -> Option<Fingerprint> {
    let (hash, digest) = value.trim().split_once(' ')?;
    Fingerprint::parse(hash.parse::<HashFunction>().ok()?, digest).ok()
}
