//! XML streams (RFC 6120 §4) as a component has them (XEP-0114): bytes in, elements out, and the other way round.
//!
//! Anybody who may send a stanza through the server chooses what is in it, so nothing in it may end the stream or cost
//! more than it is worth: a stanza that is too large or too deep is read to its end and handed out as its header alone.
//! This is why `tokio_xmpp::xmlstream` is not used: it ends the stream on an attribute of more than 8 KiB, and builds
//! and drops elements recursively, so that a stanza of a few hundred kilobytes overflows the stack. Names are resolved
//! only while a stanza is built, because rxml's own resolution takes time in the square of the depth.

use minidom::Element;
use minidom::tree_builder::TreeBuilder;
use rxml::error::EndOrError;
use rxml::parser::EventMetrics;
use rxml::writer::{Encoder, Item, SimpleNamespaces};
use rxml::{Namespace, NcNameStr, Options, Parse as _, RawEvent, RawParser, WithOptions as _};
use sha1::{Digest as _, Sha1};
use thiserror::Error;

/// Namespace of the stream itself.
pub const NS: &str = "http://etherx.jabber.org/streams";

/// What ends a stream.
pub const CLOSE: &str = "</stream:stream>";

/// Most bytes of a stanza that is handed out whole.
const MAX_BYTES: usize = 256 * 1024;
/// Most elements of a stanza that is handed out whole: they cost more than their bytes.
const MAX_ELEMENTS: usize = 8 * 1024;
/// Most levels of a stanza that is handed out whole.
const MAX_DEPTH: usize = 64;
/// Longest attribute, beyond the largest stanza that servers let through: a longer one ends the stream.
const MAX_TOKEN: usize = 1024 * 1024;

/// What a stream brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The peer opened the stream.
    Opened {
        /// `id`, which the receiving side chooses.
        id: Option<String>,
        /// `to`, the component's domain when it is the one that opens.
        to: Option<String>,
    },
    /// A stanza, or another element on its level.
    Element(Element),
    /// A stanza beyond the limits: its name and attributes, without what is in it.
    TooLarge(Element),
    /// The peer closed the stream.
    Closed,
}

/// What ends a stream without the peer's intention.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StreamError {
    /// The bytes are no XML, or not the part of it that streams may use (RFC 6120 §11).
    #[error("not well-formed")]
    NotWellFormed,
    /// The first element is not `<stream:stream>`.
    #[error("not an XML stream")]
    NotAStream,
}

/// Reads one direction of a stream.
pub struct StreamReader {
    parser: RawParser,
    /// Builds the stanza, inside of the stream's element.
    builder: TreeBuilder,
    /// Elements that are open, the stream's among them.
    depth: usize,
    /// What the stanza holds so far.
    size: Size,
    /// The stanza's name and attributes.
    header: Option<Element>,
    /// The stanza is too large: it is read to its end without being built.
    skipping: bool,
}

#[derive(Default)]
struct Size {
    bytes: usize,
    elements: usize,
}

impl Default for StreamReader {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamReader {
    /// Starts before the first byte.
    pub fn new() -> Self {
        let options = Options { max_token_length: MAX_TOKEN, ..Options::default() };
        Self {
            parser: RawParser::with_options(options),
            builder: TreeBuilder::new(),
            depth: 0,
            size: Size::default(),
            header: None,
            skipping: false,
        }
    }

    /// Reads on. Nothing means that all of `bytes` is used up, and more is needed.
    ///
    /// # Errors
    ///
    /// The stream cannot be read any further.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Incoming>, StreamError> {
        loop {
            let event = match self.parser.parse(bytes, false) {
                Ok(Some(event)) => event,
                Ok(None) | Err(EndOrError::NeedMoreData) => return Ok(None),
                Err(EndOrError::Error(_)) => return Err(StreamError::NotWellFormed),
            };
            if let Some(incoming) = self.handle(event)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn handle(&mut self, event: RawEvent) -> Result<Option<Incoming>, StreamError> {
        self.size.bytes += event.metrics().len();
        match event {
            RawEvent::XmlDeclaration(..) => Ok(None),
            RawEvent::ElementHeadOpen(..) => {
                self.depth += 1;
                self.size.elements += 1;
                self.build(event)
            }
            RawEvent::Attribute(..) => self.build(event),
            RawEvent::Text(..) if self.depth <= 1 => Ok(None), // white space keeps a connection alive
            RawEvent::Text(..) => {
                self.build(event)?;
                self.give_up_if_too_large()
            }
            RawEvent::ElementHeadClose(_) => {
                self.build(event)?;
                match self.depth {
                    1 => self.opened().map(Some),
                    2 => {
                        self.header = self.builder.top().cloned();
                        self.give_up_if_too_large()
                    }
                    _ => self.give_up_if_too_large(),
                }
            }
            RawEvent::ElementFoot(_) => {
                self.depth -= 1;
                self.build(event)?;
                Ok(match self.depth {
                    0 => Some(Incoming::Closed),
                    1 => self.complete(),
                    _ => None,
                })
            }
        }
    }

    fn build(&mut self, event: RawEvent) -> Result<Option<Incoming>, StreamError> {
        if !self.skipping {
            self.builder.process_event(event).map_err(|_| StreamError::NotWellFormed)?;
        }
        Ok(None)
    }

    fn opened(&mut self) -> Result<Incoming, StreamError> {
        self.size = Size::default();
        let stream = self.builder.top().filter(|stream| stream.is("stream", NS)).ok_or(StreamError::NotAStream)?;
        let attribute = |name: &str| stream.attr(name).map(str::to_owned);
        Ok(Incoming::Opened { id: attribute("id"), to: attribute("to") })
    }

    fn complete(&mut self) -> Option<Incoming> {
        self.size = Size::default();
        let header = self.header.take();
        if self.skipping {
            self.skipping = false;
            return header.map(Incoming::TooLarge);
        }
        self.builder.unshift_child().map(Incoming::Element)
    }

    /// Lets go of a stanza that is more than it is worth. Whether an element is too deep or too much is asked where its
    /// head ends, so that nothing of it stays in the builder.
    fn give_up_if_too_large(&mut self) -> Result<Option<Incoming>, StreamError> {
        let within = self.size.bytes <= MAX_BYTES && self.size.elements <= MAX_ELEMENTS && self.depth <= MAX_DEPTH;
        if !within && !self.skipping {
            while self.builder.depth() > 1 {
                self.build(RawEvent::ElementFoot(EventMetrics::zero()))?;
            }
            self.builder.unshift_child();
            self.skipping = true;
        }
        Ok(None)
    }
}

/// An element that XML cannot express: it holds control characters.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not expressible in XML")]
pub struct NotXml;

/// Writes an element.
///
/// # Errors
///
/// A text or attribute holds characters that XML has no way to write.
pub fn write(element: &Element) -> Result<Vec<u8>, NotXml> {
    let mut output = Vec::new();
    write_element(&mut Encoder::new(), element, &mut output)?;
    Ok(output)
}

fn write_element(
    encoder: &mut Encoder<SimpleNamespaces>,
    element: &Element,
    output: &mut Vec<u8>,
) -> Result<(), NotXml> {
    let mut put = |item: Item<'_>, encoder: &mut Encoder<_>| encoder.encode(item, output).map_err(|_| NotXml);
    let name = <&NcNameStr>::try_from(element.name()).map_err(|_| NotXml)?;
    put(Item::ElementHeadStart(Namespace::from(element.ns()), name), encoder)?;
    for ((namespace, name), value) in element.attrs() {
        put(Item::Attribute(namespace.clone(), name, value), encoder)?;
    }
    if element.nodes().next().is_some() {
        put(Item::ElementHeadEnd, encoder)?;
        for node in element.nodes() {
            match node {
                minidom::Node::Element(child) => write_element(encoder, child, output)?,
                minidom::Node::Text(text) => encoder.encode(Item::Text(text), output).map_err(|_| NotXml)?,
            }
        }
    }
    encoder.encode(Item::ElementFoot, output).map_err(|_| NotXml)
}

/// Opens a stream as the component: without a version, which would have the server offer features.
pub fn open(domain: &str) -> String {
    let namespace = crate::stanza::NS;
    format!("<?xml version='1.0'?><stream:stream xmlns='{namespace}' xmlns:stream='{NS}' to='{domain}'>")
}

/// Opens a stream as the server that a component connected to.
pub fn accept(domain: &str, id: &str) -> String {
    let namespace = crate::stanza::NS;
    format!("<?xml version='1.0'?><stream:stream xmlns='{namespace}' xmlns:stream='{NS}' from='{domain}' id='{id}'>")
}

/// The text of the component's `<handshake/>`: SHA-1 of the stream's id and the secret, in lower-case hexadecimal
/// (XEP-0114 §3).
pub fn handshake(id: &str, secret: &str) -> String {
    Sha1::digest(format!("{id}{secret}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(reader: &mut StreamReader, mut bytes: &[u8]) -> Vec<Incoming> {
        let mut all = Vec::new();
        while let Some(incoming) = reader.read(&mut bytes).expect("the stream is well-formed") {
            all.push(incoming);
        }
        assert!(bytes.is_empty());
        all
    }

    fn opened() -> StreamReader {
        let mut reader = StreamReader::new();
        let header = accept("sip.localhost", "3BF96D32");
        let opened = Incoming::Opened { id: Some("3BF96D32".into()), to: None };
        assert_eq!(read_all(&mut reader, header.as_bytes()), [opened]);
        reader
    }

    #[test]
    fn the_handshake_is_that_of_xep_0114() {
        assert_eq!(handshake("3BF96D32", "test"), "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e");
    }

    #[test]
    fn a_stanza_comes_whole_however_its_bytes_are_cut() {
        let xml = "<iq type='get'><p:ping xmlns:p='urn:xmpp:ping'>a&amp;b</p:ping></iq> <presence/></stream:stream>";
        let whole = read_all(&mut opened(), xml.as_bytes());
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[2], Incoming::Closed);
        let mut reader = opened();
        let cut: Vec<Incoming> = xml.as_bytes().chunks(1).flat_map(|byte| read_all(&mut reader, byte)).collect();
        assert_eq!(cut, whole);
        let Incoming::Element(iq) = &whole[0] else { panic!("an iq") };
        assert_eq!(iq.get_child("ping", "urn:xmpp:ping").map(Element::text).as_deref(), Some("a&b"));
    }

    #[test]
    fn a_stanza_that_is_too_deep_or_too_large_keeps_only_its_header() {
        let deep = format!("{}{}", "<a>".repeat(60_000), "</a>".repeat(60_000));
        let many = "<a/>".repeat(20_000);
        let long = "x".repeat(300_000);
        let attribute = format!("<a b='{}'/>", "x".repeat(600_000));
        for content in [deep, many, long, attribute] {
            let xml = format!("<message id='1'>{content}</message><presence/>");
            let read = read_all(&mut opened(), xml.as_bytes());
            let [Incoming::TooLarge(header), Incoming::Element(next)] = &read[..] else { panic!("two stanzas") };
            assert_eq!((header.name(), header.attr("id"), header.nodes().count()), ("message", Some("1"), 0));
            assert_eq!(next.name(), "presence");
        }
    }

    #[test]
    fn what_is_not_well_formed_ends_the_stream() {
        for xml in ["<iq></message>", "<x:iq/>", "<!DOCTYPE a>", "<iq>\u{0}</iq>"] {
            let mut bytes = xml.as_bytes();
            assert!(matches!(opened().read(&mut bytes), Err(StreamError::NotWellFormed)), "{xml}");
        }
        assert!(matches!(
            StreamReader::new().read(&mut &b"<iq xmlns='jabber:client'/>"[..]),
            Err(StreamError::NotAStream)
        ));
    }

    #[test]
    fn control_characters_are_not_written() {
        let mut element = Element::bare("body", crate::stanza::NS);
        element.append_text("a\u{1}b");
        assert_eq!(write(&element), Err(NotXml));
        let mut element = Element::bare("body", crate::stanza::NS);
        element.append_text("a<b");
        assert_eq!(write(&element).as_deref(), Ok(&b"<body xmlns='jabber:component:accept'>a&lt;b</body>"[..]));
    }
}
