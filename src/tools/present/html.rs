//! The frame of a page and of its sections, with `maud`.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::prose::Prose;

/// Palette, type, tables, tiles, print: the look of all pages.
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
    let is_control =
        |letter: char| letter.is_ascii_control() && !matches!(letter, '\n' | '\r' | '\t');
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
    fn a_page_is_closed_and_its_text_is_escaped() {
        let section = section("a <section>", "with `code`", &html! { p { "a\x00b" } });
        let page = page("a <title>", ".x { color: red; }\n", &section);
        check("page", &page);
        assert!(page.contains("a &lt;title&gt;") && page.contains("<code>code</code>"), "{page}");
        assert!(page.contains(".x { color: red; }") && page.contains("a\u{fffd}b"), "{page}");
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
