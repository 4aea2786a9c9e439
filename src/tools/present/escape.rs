//! Text that is no markup.

use std::fmt::{self, Write};

use maud::Render;

/// Writes `text` so that no character of it means anything, in content and in attributes.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Not allowed in HTML, not even escaped.
                '\0'..='\x08' | '\x0b'..='\x1f' | '\x7f' => f.write_char('\u{fffd}')?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// The same, with what stands between backticks as code.
pub(crate) struct Prose<'a>(pub(crate) &'a str);

impl fmt::Display for Prose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> = self.0.split('`').collect();
        if parts.len().is_multiple_of(2) {
            // One of them has no end.
            return Text(self.0).fmt(f);
        }
        for (index, part) in parts.into_iter().enumerate() {
            match index % 2 {
                0 => Text(part).fmt(f)?,
                _ => write!(f, "<code>{}</code>", Text(part))?,
            }
        }
        Ok(())
    }
}

impl Render for Prose<'_> {
    fn render_to(&self, out: &mut String) {
        write!(out, "{self}").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_anything() {
        let text = Text("<a href='x' id=\"y\">&amp;\x00\u{e9}\n").to_string();
        let expected = "&lt;a href=&#39;x&#39; id=&quot;y&quot;&gt;&amp;amp;\u{fffd}\u{e9}\n";
        assert_eq!(text, expected);
    }
    #[test]
    fn backticks_are_code() {
        assert_eq!(Prose("a `<b>` c").to_string(), "a <code>&lt;b&gt;</code> c");
        assert_eq!(Prose("`a`").to_string(), "<code>a</code>");
        assert_eq!(Prose("a ` <").to_string(), "a ` &lt;");
    }
}
