//! The frame of a page and of its sections.

use std::fmt::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::escape::{Prose, Text};

/// Palette, type, tables, tiles, print: what all pages look like.
const STYLE: &str = include_str!("style.css");

/// A page; `style` is what it needs beyond the common style.
pub(crate) fn page(title: &str, style: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { main { (content) } }
        }
    };
    // HTML allows no control characters, not even escaped ones.
    let is_control = |letter: char| letter.is_ascii_control() && !matches!(letter, '\n' | '\t');
    page.into_string().replace(is_control, "\u{fffd}")
}

/// A section of a page.
pub(crate) fn section(title: &str, about: &str, content: &Markup) -> Markup {
    html! {
        section {
            h2 { (title) }
            p.soft { (Prose(about)) }
            (content)
        }
    }
}

/// Terms and their meanings, within a `dl`.
pub(crate) fn definitions(terms: &[(&str, &str)]) -> Markup {
    html! {
        @for (term, meaning) in terms {
            dt { (term) }
            dd { (Prose(meaning)) }
        }
    }
}

/// Begins a page; `style` is what it needs beyond the common style.
pub(crate) fn begin(title: &str, style: &str, out: &mut String) {
    put(
        out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{}</title>\n<style>\n{STYLE}{style}</style>\n\
             </head>\n<body>\n<main>\n",
            Text(title),
        ),
    );
}

/// Ends a page.
pub(crate) fn end(out: &mut String) {
    out.push_str("</main>\n</body>\n</html>\n");
}

/// Begins a section.
pub(crate) fn open(title: &str, about: &str, out: &mut String) {
    let (title, about) = (Text(title), Prose(about));
    put(out, format_args!("<section>\n<h2>{title}</h2>\n<p class=\"soft\">{about}</p>\n"));
}

/// Ends a section.
pub(crate) fn close(out: &mut String) {
    out.push_str("</section>\n");
}

/// Terms and what they mean, as at the foot of a page.
pub(crate) fn terms(terms: &[(&str, &str)], out: &mut String) {
    for (what, about) in terms {
        put(out, format_args!("<dt>{}</dt><dd>{}</dd>\n", Text(what), Prose(about)));
    }
}

/// Appends to a page.
pub(crate) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}

/// Panics unless every element of `page` is closed, in order, and the page loads nothing (HTML-1).
#[cfg(test)]
pub(crate) fn check(name: &str, page: &str) {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let mut within: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("{name}: an open tag: {tag}"));
        let element = tag.split([' ', '/']).find(|name| !name.is_empty()).expect("a name");
        if tag.starts_with('/') {
            assert_eq!(within.pop(), Some(element), "{name}: </{element}> within {within:?}");
        } else if !tag.ends_with('/') && !VOID.contains(&element) {
            within.push(element);
        }
        assert!(tag.matches('"').count().is_multiple_of(2), "{name}: an open attribute: {tag}");
    }
    assert_eq!(within, [""; 0], "{name}");
    for word in ["<script", "http:", "https:", "url(", "@import", "<img", "<link", "NaN", "inf%"] {
        assert!(!page.contains(word), "{name}: {word}");
    }
}

/// Writes the page into the directory that `SYNCLINE_PAGES` names, if it is set, for a look at it.
#[cfg(test)]
pub(crate) fn keep(name: &str, page: &str) {
    if let Some(dir) = std::env::var_os("SYNCLINE_PAGES") {
        let file = std::path::Path::new(&dir).join(format!("{name}.html"));
        std::fs::write(file, page).expect("written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_closed() {
        let mut out = String::new();
        begin("a <title>", ".x { color: red; }\n", &mut out);
        open("a <section>", "with `code`", &mut out);
        close(&mut out);
        end(&mut out);
        check("page", &out);
        assert!(out.contains("a &lt;title&gt;") && out.contains("<code>code</code>"), "{out}");
        assert!(out.contains(".x { color: red; }"));
    }

    #[test]
    #[should_panic(expected = "</p> within")]
    fn an_element_that_closes_too_early_fails_the_check() {
        check("page", "<p><b></p>");
    }

    #[test]
    #[should_panic(expected = "https:")]
    fn a_link_to_elsewhere_fails_the_check() {
        check("page", "<p>https://example.org</p>");
    }
}
