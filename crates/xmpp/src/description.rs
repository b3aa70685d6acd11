//! Contents to and from the neutral description (XEP-0167, XEP-0176; roles of RFC 3264).

use model::{Codec, Description, Direction, MediaPath, MediaStream, Profile, StreamId};

use crate::jingle::{Content, Described, IceUdp, Party, RtpDescription, Senders, Transport};

/// Reads contents as the description that `writer` made: directions are its, streams are numbered from 0 in the order
/// of the contents that can be described, names are the contents' names.
///
/// A content of another application is left out, one with another transport is kept as rejected; both are losses.
pub fn describe(contents: &[Content], bundle: &[String], writer: Party) -> Described {
    let mut described = Described { description: Description::default(), losses: Vec::new() };
    for content in contents {
        let Some(RtpDescription::Rtp(stream)) = &content.description else {
            described.losses.push(format!("content {:?} is neither audio nor video", content.name));
            continue;
        };
        let number = u16::try_from(described.description.streams.len());
        let Ok(number) = number else {
            described.losses.push(format!("content {:?} is one too many", content.name));
            continue;
        };
        let stream = read_stream(content, (**stream).clone(), writer, &mut described.losses);
        described.description.streams.push(MediaStream { id: StreamId(number), ..stream });
    }
    described.description.bundle = bundle
        .iter()
        .filter_map(|name| described.description.streams.iter().find(|stream| stream.name == *name))
        .map(|stream| stream.id)
        .collect();
    described
}

fn read_stream(content: &Content, mut stream: MediaStream, writer: Party, losses: &mut Vec<String>) -> MediaStream {
    stream.direction = content.senders.unwrap_or_default().direction(writer);
    if writer == Party::Responder {
        for extension in &mut stream.extensions {
            extension.direction = extension.direction.reversed();
        }
    }
    if content.disposition != "session" {
        losses.push(format!("content {:?} is for {:?}", content.name, content.disposition));
        stream.rejected = true;
    }
    stream.codecs = usable_codecs(stream.codecs, losses);
    match &content.transport {
        Some(Transport::IceUdp(transport)) => {
            stream.path.ice = transport.ice.clone();
            stream.path.candidates = transport.candidates.clone();
            stream.path.end_of_candidates = transport.gathering_complete;
            stream.path.dtls = transport.dtls.clone();
        }
        Some(Transport::Unsupported(namespace)) => {
            losses.push(format!("content {:?} is transported by {namespace:?}", content.name));
            stream.rejected = true;
        }
        None => (), // the action does not speak of it
    }
    stream.path.profile = profile(&stream);
    stream
}

/// Leaves out what no `a=rtpmap` could say, and payload types that come twice.
fn usable_codecs(codecs: Vec<Codec>, losses: &mut Vec<String>) -> Vec<Codec> {
    let mut usable: Vec<Codec> = Vec::with_capacity(codecs.len());
    for codec in codecs {
        let number = codec.payload_type;
        if codec.name.is_empty() || codec.name.contains([' ', '/']) || codec.clock_rate == 0 {
            losses.push(format!("payload type {number} has no proper name or clock rate"));
        } else if usable.iter().any(|other| other.payload_type == number) {
            losses.push(format!("payload type {number} is there twice"));
        } else {
            usable.push(codec);
        }
    }
    usable
}

/// The profile that a content stands for (XEP-0167 §6, XEP-0293 §3, XEP-0320 §2).
fn profile(stream: &MediaStream) -> Profile {
    let feedback = !stream.feedback.is_empty() || stream.codecs.iter().any(|codec| !codec.feedback.is_empty());
    let profile = if stream.path.dtls.is_some() {
        Profile::TlsSavp
    } else if stream.path.profile.is_secure() || !stream.path.crypto.is_empty() {
        Profile::Savp
    } else {
        Profile::Avp
    };
    profile.with_feedback(feedback)
}

/// Writes the description that `writer` made as contents that `creator` created, and the names of the bundle.
///
/// Rejected streams are left out: Jingle refuses a content by another action.
pub fn contents(description: &Description, writer: Party, creator: Party) -> (Vec<Content>, Vec<String>) {
    let accepted = || description.streams.iter().filter(|stream| !stream.rejected);
    let contents = accepted().map(|stream| write_content(stream, writer, creator)).collect();
    let bundle = description
        .bundle
        .iter()
        .filter_map(|id| accepted().find(|stream| stream.id == *id))
        .map(content_name)
        .collect();
    (contents, bundle)
}

fn write_content(stream: &MediaStream, writer: Party, creator: Party) -> Content {
    let path = &stream.path;
    let profile = if path.crypto.is_empty() { Profile::Avp } else { Profile::Savp };
    let transport = IceUdp {
        ufrag: path.ice.as_ref().map(|ice| ice.ufrag.clone()),
        ice: path.ice.clone(),
        candidates: path.candidates.clone(),
        gathering_complete: false, // XEP-0176 does not know it, and all our candidates are there
        dtls: path.dtls.clone(),
    };
    let description = MediaStream {
        id: StreamId(0), // a content has a name and no number
        name: content_name(stream),
        direction: Direction::default(),
        path: MediaPath { rtcp_mux: path.rtcp_mux, crypto: path.crypto.clone(), profile, ..MediaPath::default() },
        ..stream.clone()
    };
    Content {
        senders: Some(Senders::from_direction(stream.direction, writer)),
        description: Some(RtpDescription::Rtp(Box::new(description))),
        transport: Some(Transport::IceUdp(transport)),
        ..Content::new(creator, content_name(stream))
    }
}

/// The stream's name, or its number where it came from an SDP without `a=mid`.
fn content_name(stream: &MediaStream) -> String {
    if stream.name.is_empty() { stream.id.0.to_string() } else { stream.name.clone() }
}
