//! An SDP before and after it was rewritten.

use model::{Codec, Description, MediaStream};
use sdp::facts::{Facts, MediaFacts};
use sdp::{SdpError, Session};

/// A line of an SDP, and whether it stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Line<'a> {
    /// It is in both.
    Stays(&'a str),
    /// It is only in the one before.
    Goes(&'a str),
    /// It is only in the one after.
    Comes(&'a str),
}

/// Says what became of each m-line.
///
/// # Errors
///
/// One of the two is no SDP.
pub fn of_media(before: &str, after: &str) -> Result<Vec<String>, SdpError> {
    let (old, new) = (Facts::read(before)?, Facts::read(after)?);
    let (old_streams, new_streams) = (streams(before)?, streams(after)?);
    let mut lines = Vec::new();
    for (number, (was, is)) in old.lines.iter().zip(&new.lines).enumerate() {
        let codecs = old_streams.get(number).zip(new_streams.get(number)).map(|(was, is)| of_codecs(was, is));
        lines.push(format!("{} {}: {}", number + 1, was.media, of_line(was, is, codecs)));
    }
    Ok(lines)
}

/// The stream of each m-line.
fn streams(text: &str) -> Result<Vec<MediaStream>, SdpError> {
    let mut session = Session::new(0);
    let Description { streams, .. } = session.read_offer(text)?.description;
    let of = |id| streams.iter().find(|stream| Some(stream.id) == id).cloned();
    let none = || MediaStream { rejected: true, ..MediaStream::new(model::StreamId(0), "", model::MediaKind::Audio) };
    Ok(session.streams().into_iter().map(|id| of(id).unwrap_or_else(none)).collect())
}

fn of_line(was: &MediaFacts, is: &MediaFacts, codecs: Option<Vec<String>>) -> String {
    if is.port == 0 {
        return if was.port == 0 { "stays refused".to_owned() } else { "is refused: port 0".to_owned() };
    }
    let mut changes = vec![match was.proto == is.proto {
        true => format!("stays {}", is.proto),
        false => format!("{} becomes {}", was.proto, is.proto),
    }];
    let both = |what: &str, was: bool, is: bool| match (was, is) {
        (true, true) => Some(format!("{what} with ours instead")),
        (true, false) => Some(format!("no {what} any more")),
        (false, true) => Some(format!("{what} added")),
        (false, false) => None,
    };
    changes.extend(both("ICE", was.ice, is.ice));
    changes.extend(both("DTLS fingerprint", was.fingerprint, is.fingerprint));
    changes.extend(both("SDES keys", was.crypto, is.crypto));
    match (was.rtcp_mux, is.rtcp_mux) {
        (true, true) => changes.push("rtcp-mux stays".to_owned()),
        (true, false) => changes.push("no rtcp-mux any more".to_owned()),
        (false, true) => changes.push("rtcp-mux added".to_owned()),
        (false, false) => {}
    }
    changes.extend(codecs.into_iter().flatten());
    changes.join("; ")
}

fn of_codecs(was: &MediaStream, is: &MediaStream) -> Vec<String> {
    let names = |of: &[&Codec]| {
        of.iter().map(|codec| format!("{}/{}", codec.name, codec.clock_rate)).collect::<Vec<_>>().join(", ")
    };
    let has = |codecs: &[Codec], one: &Codec| codecs.iter().any(|codec| codec.is_same_format(one));
    let gone: Vec<&Codec> = was.codecs.iter().filter(|codec| !has(&is.codecs, codec)).collect();
    let come: Vec<&Codec> = is.codecs.iter().filter(|codec| !has(&was.codecs, codec)).collect();
    let mut changes = vec![format!("codecs {}", names(&is.codecs.iter().collect::<Vec<_>>()))];
    if !gone.is_empty() {
        changes.push(format!("without {}", names(&gone)));
    }
    if !come.is_empty() {
        changes.push(format!("{} added", names(&come)));
    }
    changes
}

/// Lines of both, in order: the fewest that have to go and come to make the one of the other.
pub fn lines<'a>(before: &'a str, after: &'a str) -> Vec<Line<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    // How many lines, from each pair of places on, are common to both.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    let at = |common: &[Vec<u32>], i: usize, j: usize| common.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = match a == b {
                true => at(&common, i + 1, j + 1) + 1,
                false => at(&common, i + 1, j).max(at(&common, i, j + 1)),
            };
            if let Some(cell) = common.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(Line::Stays(a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                lines.push(Line::Goes(a));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(Line::Comes(b));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_m_line_is_said() {
        let before = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 opus/48000/2\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
            a=fingerprint:sha-256 00\r\na=rtcp-mux\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\nm=image 0 udptl t38\r\n";
        let after = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
            m=audio 30000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n\
            m=video 0 RTP/SAVP 96\r\nm=image 0 udptl t38\r\n";
        assert_eq!(
            of_media(before, after).expect("both are"),
            [
                "1 audio: UDP/TLS/RTP/SAVPF becomes RTP/SAVP; no ICE any more; no DTLS fingerprint any more; SDES keys added; \
                 no rtcp-mux any more; codecs PCMU/8000; without opus/48000",
                "2 video: is refused: port 0",
                "3 image: stays refused",
            ]
        );
        let same = of_media(after, after).expect("it is one");
        assert_eq!(same[0], "1 audio: stays RTP/SAVP; SDES keys with ours instead; codecs PCMU/8000");
    }

    #[test]
    fn lines_come_and_go_around_those_that_stay() {
        use Line::{Comes, Goes, Stays};
        let changed = lines("v=0\r\nc=a\r\nm=x\r\na=1\r\n", "v=0\r\nc=b\r\nm=x\r\na=2\r\na=1\r\n");
        assert_eq!(changed, [Stays("v=0"), Goes("c=a"), Comes("c=b"), Stays("m=x"), Comes("a=2"), Stays("a=1")]);
        assert_eq!(lines("a", ""), [Goes("a")]);
        assert_eq!(lines("", "a"), [Comes("a")]);
    }
}
