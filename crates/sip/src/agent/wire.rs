//! Reading and making messages: headers by name, lists, tags, bodies, responses.

use rsipstack::sip::headers::make_header;
use rsipstack::sip::{
    Domain, Header, Headers, Host, HostWithPort, Request, Response as WireResponse, StatusCode, Uri, Version,
};

use crate::address::{SipUri, parse_name_addr};
use crate::message::{PeerSupport, Reason, Response};

/// The methods we take. Others are answered by 405 if we know them, else by 501.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, NOTIFY, REFER";
/// The extensions a peer may require of us.
pub(super) const SUPPORTED: &str = "100rel, replaces, timer";
/// The one body we read.
pub(super) const SDP: &str = "application/sdp";

/// Makes a header. Line breaks in the value, which would begin another header, become spaces.
pub(super) fn header(name: &str, value: impl Into<String>) -> Header {
    let value: String = value.into();
    make_header(name, if value.contains(['\r', '\n', '\0']) { value.replace(['\r', '\n', '\0'], " ") } else { value })
}

/// What we can do, for OPTIONS and 405 (RFC 3261 §11.2).
pub(super) fn capabilities() -> Vec<Header> {
    vec![
        header("Allow", ALLOW),
        header("Accept", SDP),
        header("Accept-Encoding", "identity"),
        header("Accept-Language", "en"),
        header("Supported", SUPPORTED),
    ]
}

/// The options required that we do not know: `None` if there are none.
pub(super) fn unsupported(headers: &Headers) -> Option<Header> {
    let known: Vec<&str> = SUPPORTED.split(", ").collect();
    let unknown: Vec<String> =
        tokens(headers, "Require").into_iter().filter(|option| !known.contains(&option.as_str())).collect();
    (!unknown.is_empty()).then(|| header("Unsupported", unknown.join(", ")))
}

/// The value of the first header of a name, given in its long form.
pub(super) fn value<'a>(headers: &'a Headers, name: &'a str) -> Option<&'a str> {
    values(headers, name).next()
}

/// The values of all headers of a name.
pub(super) fn values<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |header| header.name().eq_ignore_ascii_case(name)).map(|header| header.value().trim())
}

/// The members of a list that may be spread over several headers of a name; commas within quotes and `<>` do not
/// separate.
pub(super) fn list(headers: &Headers, name: &str) -> Vec<String> {
    let mut members = Vec::new();
    for value in values(headers, name) {
        let (mut quoted, mut bracketed, mut escaped, mut start) = (false, false, false, 0);
        for (index, character) in value.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '<' if !quoted => bracketed = true,
                '>' if !quoted => bracketed = false,
                ',' if !quoted && !bracketed => {
                    members.extend(value.get(start..index));
                    start = index + 1;
                }
                _ => {}
            }
        }
        members.extend(value.get(start..));
    }
    members.into_iter().map(str::trim).filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

/// The members of a list of tokens, in lower case.
pub(super) fn tokens(headers: &Headers, name: &str) -> Vec<String> {
    list(headers, name).iter().map(|token| token.to_ascii_lowercase()).collect()
}

/// What a message says its sender can do.
pub(super) fn peer_support(headers: &Headers) -> PeerSupport {
    let methods = tokens(headers, "Allow");
    let options = ["Supported", "Require"].map(|name| tokens(headers, name)).concat();
    let (takes, knows) = (|own: &str| methods.iter().any(|m| m == own), |own: &str| options.iter().any(|o| o == own));
    PeerSupport { refer: takes("refer"), update: takes("update"), replaces: knows("replaces"), timer: knows("timer") }
}

/// The value of a `;name=value` in what follows a name-addr or a token.
pub(super) fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (own, value) = parameter.split_once('=')?;
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The tag of a From or To.
pub(super) fn tag(headers: &Headers, name: &str) -> Option<String> {
    let (_, _, parameters) = parse_name_addr(value(headers, name)?)?;
    parameter(parameters, "tag").filter(|tag| !tag.is_empty()).map(str::to_owned)
}

/// The URI of the first Contact, From, To or P-Asserted-Identity.
pub(super) fn uri(headers: &Headers, name: &str) -> Option<String> {
    let members = list(headers, name);
    parse_name_addr(members.first()?).map(|(_, uri, _)| uri.to_owned())
}

/// Makes a Request-URI out of a SIP or SIPS URI. The stack would escape a user part that is escaped already, so that it
/// gets all behind the scheme as one word; nothing there looks into it. `None`: it is no such URI.
pub(super) fn request_uri(text: &str) -> Option<Uri> {
    SipUri::parse(text).ok().filter(|uri| !uri.host.is_empty())?;
    let (scheme, rest) = text.split_once(':')?;
    if rest.contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c)) {
        return None;
    }
    let host = HostWithPort { host: Host::Domain(Domain(rest.to_owned())), port: None };
    Some(Uri { scheme: Some(scheme.parse().ok()?), host_with_port: host, ..Uri::default() })
}

/// The text of a Request-URI, whether it arrived or is ours.
pub(super) fn uri_text(uri: &Uri) -> String {
    let Uri { scheme, auth, host_with_port, params, headers } = uri;
    let mut text = scheme.as_ref().map(|scheme| format!("{scheme}:")).unwrap_or_default();
    if let Some(auth) = auth {
        let password = auth.password.as_ref().map(|password| format!(":{password}")).unwrap_or_default();
        text.push_str(&format!("{}{password}@", auth.user));
    }
    text.push_str(&host_with_port.to_string());
    params.iter().for_each(|parameter| text.push_str(&parameter.to_string()));
    for (index, (name, value)) in headers.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        let value = if value.is_empty() { String::new() } else { format!("={value}") };
        text.push_str(&format!("{separator}{name}{value}"));
    }
    text
}

/// Number and method of the CSeq.
pub(super) fn cseq(headers: &Headers) -> Option<(u32, &str)> {
    let mut words = value(headers, "CSeq")?.split_whitespace();
    Some((words.next()?.parse().ok().filter(|number| *number < 1 << 31)?, words.next()?))
}

/// The Call-ID.
pub(super) fn call_id(headers: &Headers) -> Option<&str> {
    value(headers, "Call-ID")
}

/// Says whether the Event of a message is of a package, whatever its parameters.
pub(super) fn is_event(headers: &Headers, package: &str) -> bool {
    let event = value(headers, "Event").and_then(|event| event.split(';').next());
    event.is_some_and(|event| event.trim().eq_ignore_ascii_case(package))
}

/// A number that stands alone in a header, whatever follows it: `3600;refresher=uac`, `5 (in a meeting)`.
pub(super) fn number(headers: &Headers, name: &str) -> Option<u32> {
    let value = value(headers, name)?;
    value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyProblem {
    /// 415 with Accept.
    Type,
    /// 415 with Accept-Encoding.
    Encoding,
}

impl BodyProblem {
    /// What a 415 tells.
    pub(super) fn accept(self) -> Header {
        match self {
            Self::Type => header("Accept", SDP),
            Self::Encoding => header("Accept-Encoding", "identity"),
        }
    }
}

/// Finds the SDP of a message: the body itself, or a part of a multipart body (RFC 5621 §5). Text that is not UTF-8,
/// such as an old phone's session name, is read as well as can be.
pub(super) fn sdp(headers: &Headers, body: &[u8]) -> Result<Option<String>, BodyProblem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if value(headers, "Content-Encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(BodyProblem::Encoding);
    }
    let content_type = value(headers, "Content-Type").unwrap_or(SDP);
    let media_type = media_type(content_type);
    if media_type == SDP {
        return Ok(Some(String::from_utf8_lossy(body).into_owned()));
    }
    if media_type.starts_with("multipart/") {
        let parameters = content_type.split_once(';').map_or("", |(_, parameters)| parameters);
        let boundary = parameter(parameters, "boundary").ok_or(BodyProblem::Type)?;
        return multipart(&String::from_utf8_lossy(body), boundary);
    }
    let optional = value(headers, "Content-Disposition").is_some_and(is_optional);
    if optional { Ok(None) } else { Err(BodyProblem::Type) }
}

fn multipart(body: &str, boundary: &str) -> Result<Option<String>, BodyProblem> {
    let delimiter = format!("--{boundary}");
    let mut problem = Ok(None);
    for part in body.split(delimiter.as_str()).skip(1).take_while(|part| !part.starts_with("--")) {
        let part = part.trim_start_matches([' ', '\t']).trim_start_matches("\r\n");
        let (head, content) = part.split_once("\r\n\r\n").unwrap_or(("", part));
        let field = |name: &str| {
            head.lines().filter_map(|line| line.split_once(':')).find(|(own, _)| own.trim().eq_ignore_ascii_case(name))
        };
        let own_type = field("Content-Type").map(|(_, value)| media_type(value.trim()));
        if own_type.as_deref() == Some(SDP) {
            return Ok(Some(content.trim_end_matches("\r\n").to_owned() + "\r\n"));
        }
        if !field("Content-Disposition").is_some_and(|(_, value)| is_optional(value)) {
            problem = Err(BodyProblem::Type);
        }
    }
    problem
}

/// `handling=optional` (RFC 3204 §6); required is the default.
fn is_optional(disposition: &str) -> bool {
    disposition.split_once(';').is_some_and(|(_, rest)| parameter(rest, "handling") == Some("optional"))
}

/// A media type in lower case, without parameters.
pub(super) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The Reason headers of a message (RFC 3326 §2).
pub(super) fn reasons(headers: &Headers) -> Vec<Reason> {
    let read = |member: &String| {
        let (protocol, parameters) = member.split_once(';')?;
        let cause = parameter(parameters, "cause")?.parse().ok()?;
        let text = parameter(parameters, "text").map(str::to_owned);
        Some(Reason { protocol: protocol.trim().to_owned(), cause, text })
    };
    list(headers, "Reason").iter().filter_map(read).collect()
}

/// The Reason headers for a message of ours.
pub(super) fn reason_headers(reasons: &[Reason]) -> Vec<Header> {
    let write = |reason: &Reason| {
        let text = reason.text.as_ref().map(|text| format!(";text={}", quote(text))).unwrap_or_default();
        header("Reason", format!("{};cause={}{text}", reason.protocol, reason.cause))
    };
    reasons.iter().map(write).collect()
}

/// A quoted-string.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Makes the response to a request: the headers every response repeats (RFC 3261 §8.2.6.2), then ours. A To without tag
/// gets `local_tag`.
pub(super) fn respond(
    request: &Request,
    local_tag: Option<&str>,
    user_agent: &str,
    response: &Response,
) -> WireResponse {
    let mut headers = Vec::new();
    let untagged = tag(&request.headers, "To").is_none();
    let new_tag = local_tag.filter(|_| untagged && response.status > 100);
    for own in request.headers.iter() {
        match (own.name(), new_tag) {
            ("To", Some(tag)) => headers.push(header("To", format!("{};tag={tag}", own.value()))),
            ("Via" | "From" | "To" | "Call-ID" | "CSeq", _) => headers.push(own.clone()),
            ("Timestamp", _) if response.status == 100 => headers.push(own.clone()),
            _ => {}
        }
    }
    headers.push(header("Server", user_agent));
    headers.extend(reason_headers(&response.reason));
    if let Some((code, text)) = &response.warning {
        headers.push(header("Warning", format!("{code} stox {}", quote(text))));
    }
    if let Some(seconds) = response.retry_after {
        headers.push(header("Retry-After", seconds.to_string()));
    }
    let body = response.sdp.clone().unwrap_or_default().into_bytes();
    if !body.is_empty() {
        headers.push(header("Content-Type", SDP));
    }
    headers.push(header("Content-Length", body.len().to_string()));
    let status_code = match &response.phrase {
        Some(phrase) => StatusCode::Other(response.status, phrase.replace(['\r', '\n', '\0'], " ")),
        None => StatusCode::from(response.status),
    };
    WireResponse { status_code, wire_reason: None, version: Version::V2, headers: headers.into(), body }
}

/// The phrase of a response that arrived.
pub(super) fn phrase(response: &WireResponse) -> String {
    response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned())
}

/// Random letters for tags, branches and Call-IDs: `bytes` bytes in hexadecimal.
pub(super) fn random(bytes: usize) -> String {
    let mut octets = vec![0; bytes];
    getrandom::fill(&mut octets).expect("the system has random numbers");
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        lines.iter().map(|(name, value)| header(name, *value)).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_list_is_split_only_where_it_may_be() {
        let headers = headers(&[("Contact", "\"Smith, \\\"J\\\"\" <sip:a@b;x=1,2>;q=1, sip:c@d"), ("m", "<sip:e@f>")]);
        assert_eq!(list(&headers, "Contact"), ["\"Smith, \\\"J\\\"\" <sip:a@b;x=1,2>;q=1", "sip:c@d", "<sip:e@f>"]);
    }

    #[test]
    fn a_request_uri_keeps_its_escapes() {
        for text in ["sip:juliet%40xmpp.example@gw.example;user=phone", "sips:[2001:db8::1]:5061;transport=TCP?x=y"] {
            let uri = request_uri(text).expect("a URI");
            assert_eq!((uri.to_string().as_str(), uri_text(&uri).as_str()), (text, text));
            assert_eq!(uri_text(&Uri::try_from(text).expect("a URI")), text);
        }
        for text in ["tel:+1555", "sip:a@b\r\nVia: x", "sip:a@b>", "x"] {
            assert_eq!(request_uri(text), None, "{text}");
        }
    }

    #[test]
    fn a_tag_is_found_behind_any_form_of_address() {
        for from in ["<sip:a@b;tag=no>;tag=yes", "sip:a@b;tag=yes", "\"x;tag=no\" <sip:a@b>;x=y ;TAG=yes"] {
            assert_eq!(tag(&headers(&[("From", from)]), "From").as_deref(), Some("yes"), "{from}");
        }
        assert_eq!(tag(&headers(&[("From", "<sip:a@b;tag=no>")]), "From"), None);
    }

    #[test]
    fn sdp_is_found_in_a_multipart_body() {
        let headers = headers(&[("c", "multipart/mixed; boundary=\"b1\"")]);
        let body = "--b1\r\nContent-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\n\
                    xyz\r\n--b1\r\nContent-Type: Application/SDP;charset=utf-8\r\n\r\nv=0\r\n\r\n--b1--\r\n";
        assert_eq!(sdp(&headers, body.as_bytes()), Ok(Some("v=0\r\n".to_owned())));
        assert_eq!(sdp(&headers, &body.as_bytes()[..80]), Err(BodyProblem::Type));
    }

    #[test]
    fn a_body_of_another_kind_is_refused_unless_it_is_optional() {
        let mut lines = vec![("Content-Type", "text/plain")];
        assert_eq!(sdp(&headers(&lines), b"hello"), Err(BodyProblem::Type));
        lines.push(("Content-Disposition", "render; handling=optional"));
        assert_eq!(sdp(&headers(&lines), b"hello"), Ok(None));
        lines.push(("Content-Encoding", "gzip"));
        assert_eq!(sdp(&headers(&lines), b"hello"), Err(BodyProblem::Encoding));
    }

    #[test]
    fn reasons_are_read_as_they_are_written() {
        let given = vec![
            Reason { protocol: "SIP".to_owned(), cause: 200, text: Some("Call completed elsewhere".to_owned()) },
            Reason { protocol: "Q.850".to_owned(), cause: 16, text: None },
        ];
        assert_eq!(reasons(&reason_headers(&given).into()), given);
    }

    #[test]
    fn a_header_cannot_be_smuggled_in_a_value() {
        assert_eq!(header("Subject", "x\r\nVia: y").value(), "x  Via: y");
    }
}
