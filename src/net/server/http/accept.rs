//! Content negotiation by the header `Accept` (RFC 9110, section 12.5.1).
//!
//! A media type gets the weight of the most specific range that contains it. The heaviest one is chosen,
//! and among equal ones the first offer. If none is accepted, the first offer is chosen all the same:
//! metrics in another format are more useful to a client than an error.

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// A media type on offer, as in `text/plain; version=0.0.4; charset=utf-8`.
pub(super) type MediaType = &'static str;

/// A range of media types that a client accepts, with its weight in thousandths.
struct MediaRange<'a> {
    media: &'a str,
    version: Option<&'a str>,
    weight: u32,
}

/// The offer that the client prefers.
pub(super) fn choose(headers: &HeaderMap, offers: &[MediaType]) -> MediaType {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<MediaRange<'_>> =
        lines.flat_map(|line| line.split(',')).filter_map(range).collect();
    let mut best = (0, offers[0]);
    for offer in offers {
        let weight = weight(offer, &ranges);
        if weight > best.0 {
            best = (weight, offer);
        }
    }
    best.1
}

fn range(text: &str) -> Option<MediaRange<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|media| media.contains('/'))?;
    let mut range = MediaRange { media, version: None, weight: 1000 };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            name if name.eq_ignore_ascii_case("q") => {
                let weight: f64 = value.trim().parse().ok()?;
                range.weight = (weight.clamp(0.0, 1.0) * 1000.0) as u32;
            }
            name if name.eq_ignore_ascii_case("version") => {
                range.version = Some(value.trim().trim_matches('"'));
            }
            _ => {}
        }
    }
    Some(range)
}

/// The weight that the most specific range gives to an offer; 0 if no range contains it.
fn weight(offer: &str, ranges: &[MediaRange<'_>]) -> u32 {
    let offer = range(offer).expect("offers are well formed");
    let (kind, _) = offer.media.split_once('/').expect("checked by `range`");
    let matching = ranges.iter().filter_map(|range| {
        let (theirs, subtype) = range.media.split_once('/')?;
        let specificity = match (theirs, subtype) {
            ("*", "*") => 0,
            (theirs, "*") if theirs.eq_ignore_ascii_case(kind) => 1,
            _ if !range.media.eq_ignore_ascii_case(offer.media) => return None,
            _ if range.version.is_none() => 2,
            _ if range.version == offer.version => 3,
            _ => return None,
        };
        Some((specificity, range.weight))
    });
    matching.max().map_or(0, |(_, weight)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: &[MediaType] =
        &["text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"];

    fn chosen(accept: &str) -> usize {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        let chosen = choose(&headers, OFFERS);
        OFFERS.iter().position(|offer| *offer == chosen).unwrap()
    }

    #[test]
    fn the_heaviest_media_type_is_chosen_and_of_equal_ones_the_first() {
        // Prometheus 2.x and 3.x, with and without protobuf.
        let scrapes = [
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
             version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;\
             escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ];
        assert_eq!(scrapes.map(chosen), [1, 1]);
        for text in ["", "*/*", "text/*", "text/plain", "text/plain;version=0.0.4;q=0.1", "a/b"] {
            assert_eq!(chosen(text), 0, "{text}");
        }
        assert_eq!(chosen("Application/OpenMetrics-Text"), 1);
        assert_eq!(chosen("text/plain;q=0, */*;q=0.1"), 1, "the specific range counts");
        assert_eq!(chosen("application/openmetrics-text;version=0.0.1, */*;q=0.5"), 0);
    }

    #[test]
    fn malformed_ranges_are_ignored() {
        for text in [";;;", ",,,", "text", "*/*;q=x", "q=1", "text/plain;q", "/", "a/b;version"] {
            assert_eq!(chosen(text), 0, "{text}");
        }
    }
}
