//! What one side asks of the other's encoder by INFO: `application/media_control+xml` (RFC 5168).

/// The media type of such a body.
pub const MEDIA_TYPE: &str = "application/media_control+xml";

/// What an encoder is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Primitive {
    /// A whole picture, as soon as it can. RTCP says it by PLI and FIR (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    PictureFastUpdate,
}

/// The elements below `<to_encoder/>` (RFC 5168 §5).
const PRIMITIVES: [(Primitive, &str); 1] = [(Primitive::PictureFastUpdate, "picture_fast_update")];

impl Primitive {
    /// Writes a body that asks for this, of every stream of video.
    pub fn write(self) -> String {
        let element = PRIMITIVES.iter().find(|(primitive, _)| *primitive == self).map_or("", |(_, element)| element);
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\r\n<media_control><vc_primitive><to_encoder>\
             <{element}/></to_encoder></vc_primitive></media_control>\r\n"
        )
    }

    /// Reads what a body asks for: nothing where it only reports an error. `None` if it is no such document. Which of
    /// several streams is meant is not looked at: one whole picture too many does no harm.
    pub fn parse(body: &str) -> Option<Vec<Self>> {
        let mut elements = elements(body);
        elements.next().filter(|root| *root == "media_control")?;
        let known =
            |name: &str| PRIMITIVES.iter().find(|(_, element)| *element == name).map(|(primitive, _)| *primitive);
        Some(elements.filter_map(known).collect())
    }
}

/// The names of the elements that begin in a document, in order, without prefixes.
fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, tag) = rest.split_once('<')?;
            if let Some(comment) = tag.strip_prefix("!--") {
                (_, rest) = comment.split_once("-->")?;
                continue;
            }
            rest = tag;
            if tag.starts_with(['/', '?', '!']) {
                continue;
            }
            let name = tag.split(|end: char| end.is_whitespace() || end == '/' || end == '>').next()?;
            return Some(name.rsplit(':').next().unwrap_or(name));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (primitive, element) in PRIMITIVES {
            assert_eq!(Primitive::parse(&primitive.write()), Some(vec![primitive]), "{element}");
        }
    }

    #[test]
    fn the_document_of_the_specification_is_read_and_so_are_its_variants() {
        let asks = Some(vec![Primitive::PictureFastUpdate]);
        let of = |inside: &str| format!("<?xml version='1.0'?>\n<media_control>{inside}</media_control>");
        for inside in [
            "<vc_primitive>\n<to_encoder>\n<picture_fast_update>\n</picture_fast_update></to_encoder></vc_primitive>",
            "<!-- <x> --><vc_primitive><stream_id>1</stream_id><to_encoder><picture_fast_update /></to_encoder></vc_primitive>",
        ] {
            assert_eq!(Primitive::parse(&of(inside)), asks);
        }
        let prefixed = "<m:media_control xmlns:m='x'><m:picture_fast_update/></m:media_control>";
        assert_eq!(Primitive::parse(prefixed), asks);
        assert_eq!(Primitive::parse(&of("<general_error>no</general_error>")), Some(Vec::new()));
        assert_eq!(Primitive::parse(&of("<!-- <picture_fast_update/> -->")), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_such_document_asks_for_nothing() {
        for text in
            ["", "hello", "<", "<!--", "<x/>", "<picture_fast_update/>", "</media_control>", "<!-- <media_control> -->"]
        {
            assert_eq!(Primitive::parse(text), None, "{text}");
        }
    }
}
