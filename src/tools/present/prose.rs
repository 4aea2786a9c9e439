//! Text with code in it.

use maud::{Markup, Render, html};

/// Text as markup, in which words between backticks are code.
pub(crate) struct Prose<'a>(pub(crate) &'a str);

impl Render for Prose<'_> {
    fn render(&self) -> Markup {
        let parts: Vec<&str> = self.0.split('`').collect();
        if parts.len().is_multiple_of(2) {
            // A backtick is not closed.
            return html! { (self.0) };
        }
        html! {
            @for (index, part) in parts.iter().enumerate() {
                @if index % 2 == 0 { (part) } @else { code { (part) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_are_code() {
        let prose = |text| Prose(text).render().into_string();
        assert_eq!(prose("a `<b>` c"), "a <code>&lt;b&gt;</code> c");
        assert_eq!(prose("`a`"), "<code>a</code>");
        assert_eq!(prose("a ` <"), "a ` &lt;");
    }
}
