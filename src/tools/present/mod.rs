//! How figures are shown to people: what the crash suite and the benchmarks share.
//!
//! ```text
//!   figures  three digits and a unit
//!   text     counts, times and tables as text
//!   html     a page that needs nothing else: its frame, its sections
//!   escape   whatever comes from elsewhere is text, never markup
//!   aside    what is said on standard error while the work goes on
//! ```
//!
//! - HTML-1 A page is one file: no script, no font, no picture from anywhere. It follows the
//!   reader's choice of light or dark, and can be printed.
//! - HTML-2 Everything that is not a number goes through [`escape`].
//! - HTML-3 Colour never tells anything alone: there is always a word, a shape or a pattern with it.
//!   The colours are apart for the colour-blind as well (blue, green, amber, vermilion).

pub(crate) mod aside;
pub(crate) mod escape;
pub(crate) mod figures;
pub(crate) mod html;
pub(crate) mod text;
