//! The display of figures, as the crash suite and the benchmarks share it.
//!
//! ```text
//!   figures  three digits and a unit
//!   text     counts, times and tables as text
//!   html     a page that needs nothing else: its frame, its sections
//!   prose    text with code in it, as markup
//!   aside    messages on standard error during the work
//! ```
//!
//! - HTML-1 A page is one file: no script, no font, no picture from anywhere. It follows the
//!   reader's choice of light or dark, and can be printed.
//! - HTML-2 Text is never markup: `maud` escapes everything that is put into a page.
//! - HTML-3 Colour never carries a meaning alone: a word, a shape or a pattern goes with it. Colour-blind
//!   readers can tell the colours apart as well (blue, green, amber, vermilion).

pub(crate) mod aside;
pub(crate) mod figures;
pub(crate) mod html;
pub(crate) mod prose;
pub(crate) mod text;
