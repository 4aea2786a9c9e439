//! The crash states of one run, drawn.
//!
//! ```text
//!   commits
//!     ^            ____------  submitted       a state above it has what nobody wrote
//!     |      __---  o O  o
//!     |   __- o  O  O o        every dot: states that recovered to so many commits
//!     |  - O  o  ____========  durable         a state below it has lost what it promised
//!     | O  ======
//!     +--------------------->  crash points, in order
//!     ||..|:|..|||.:|..|       changes that the power loss decided about
//! ```

use super::super::summary::{Moment, Picture};
use crate::tools::present::escape::Text;
use crate::tools::present::html::{close, open, put};
use crate::tools::present::text::{count, counted};

const LEFT: f64 = 52.0;
const RIGHT: f64 = 118.0;
const TOP: f64 = 12.0;
/// Beneath the plot: its axis, then the strip of choices, then its label.
const AXIS: f64 = 50.0;
const STRIP: f64 = 42.0;
const FOOT: f64 = 26.0;
/// More crash points than this make the picture wider, so that it scrolls.
const POINTS_IN_WIDTH: usize = 110;

/// The picture in a section of its own.
pub(super) fn section(picture: &Picture, out: &mut String) {
    let about = format!(
        "One run: {}. Crashed before each of {}; {} recovered.",
        picture.title,
        counted(picture.moments.len() as u64, "disk operation"),
        counted(states(&picture.moments).map(|(_, _, states)| states).sum(), "state"),
    );
    open("What the crashes left", &about, out);
    let outside = states(&picture.moments).filter(|(moment, k, _)| !is_allowed(moment, *k)).count();
    match outside {
        0 => out.push_str(
            "<p>Every dot lies between the durable line and the submitted line: nothing promised \
             was lost, and nothing came from nowhere.</p>\n",
        ),
        _ => put(
            out,
            format_args!(
                "<p class=\"mark\">{} outside the lines, drawn as diamonds.</p>\n",
                counted(outside as u64, "dot")
            ),
        ),
    }
    if !picture.moments.is_empty() {
        legend(out);
        Plot::of(&picture.moments).draw(out);
    }
    close(out);
}

/// Each dot: the moment, the commits, how many states.
fn states(moments: &[Moment]) -> impl Iterator<Item = (&Moment, u64, u64)> {
    moments.iter().flat_map(|moment| moment.recovered.iter().map(move |(k, n)| (moment, *k, *n)))
}

fn is_allowed(moment: &Moment, commits: u64) -> bool {
    (moment.durable..=moment.submitted).contains(&commits)
}

fn legend(out: &mut String) {
    let line = |class: &str| format!("<path class=\"{class}\" d=\"M1 7H33\"/>");
    let dots = "<circle class=\"dot\" cx=\"8\" cy=\"7\" r=\"3\"/>\
                <circle class=\"dot\" cx=\"24\" cy=\"7\" r=\"6\"/>";
    let bars = "<path class=\"choices\" d=\"M6 14V8h6v6zM16 14V2h6v12z\"/>";
    let entries = [
        (line("submitted"), "Submitted commits"),
        (line("acknowledged"), "acknowledged"),
        (line("durable"), "reported durable"),
        (dots.to_owned(), "states that recovered to so many; larger is more"),
        ("<path class=\"outside\" d=\"M17 0l7 7-7 7-7-7z\"/>".to_owned(), "outside the lines"),
        (bars.to_owned(), "unsynced changes that the crash decided about"),
    ];
    out.push_str("<ul class=\"legend\">\n");
    for (sign, words) in entries {
        put(
            out,
            format_args!(
                "<li><svg viewBox=\"0 0 34 14\" aria-hidden=\"true\">{sign}</svg>{words}</li>\n"
            ),
        );
    }
    out.push_str("</ul>\n");
}

/// The picture's measures.
struct Plot<'a> {
    moments: &'a [Moment],
    width: f64,
    height: f64,
    /// Between two crash points.
    step: f64,
    /// Between two commits.
    rise: f64,
    /// The most commits in the picture.
    most_commits: u64,
}

impl<'a> Plot<'a> {
    fn of(moments: &'a [Moment]) -> Plot<'a> {
        let commits = |moment: &Moment| {
            let recovered = moment.recovered.iter().map(|(k, _)| *k);
            recovered.chain([moment.submitted, moment.acknowledged]).max().unwrap_or(0)
        };
        let most_commits = moments.iter().map(commits).max().unwrap_or(0).max(1);
        let points = moments.len().max(POINTS_IN_WIDTH) as f64;
        let width = LEFT + RIGHT + 912.0 * points / POINTS_IN_WIDTH as f64;
        let height = (most_commits as f64 * 22.0).clamp(200.0, 400.0);
        let step = (width - LEFT - RIGHT) / moments.len().max(1) as f64;
        Plot {
            moments,
            width,
            height,
            step,
            rise: height / (most_commits as f64 + 0.5),
            most_commits,
        }
    }

    fn draw(&self, out: &mut String) {
        let (width, height) = (self.width, TOP + self.height + AXIS + STRIP + FOOT);
        put(
            out,
            format_args!(
                "<div class=\"scroll\"><svg class=\"picture\" viewBox=\"0 0 {width:.0} \
                 {height:.0}\" style=\"min-width:{:.0}px\" role=\"img\" aria-label=\"Commits \
                 recovered at each crash point, between the durable and the submitted ones\">\n",
                width * 0.8
            ),
        );
        self.axes(out);
        self.band(out);
        self.columns(out);
        // The durable line last but for the dots: it is the promise.
        self.line("submitted", |moment| moment.submitted, out);
        self.line("acknowledged", |moment| moment.acknowledged, out);
        self.line("durable", |moment| moment.durable, out);
        self.dots(out);
        self.ends(out);
        self.strip(out);
        out.push_str("</svg></div>\n");
    }

    /// The middle of a crash point.
    fn x(&self, index: usize) -> f64 {
        LEFT + self.step * (index as f64 + 0.5)
    }

    fn y(&self, commits: u64) -> f64 {
        TOP + self.height - self.rise * (commits as f64 + 0.25)
    }

    fn bottom(&self) -> f64 {
        TOP + self.height
    }

    fn axes(&self, out: &mut String) {
        let right = self.width - RIGHT;
        let every = tick(self.most_commits, (self.height / 26.0) as u64);
        for commits in (0..=self.most_commits).step_by(every as usize) {
            let (x, y, text_y) = (LEFT - 8.0, self.y(commits), self.y(commits) + 4.5);
            put(
                out,
                format_args!(
                    "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right:.1}\"/><text x=\"{x:.1}\" \
                     y=\"{text_y:.1}\" text-anchor=\"end\">{}</text>\n",
                    count(commits)
                ),
            );
        }
        let (middle, x) = (TOP + self.height / 2.0, (LEFT + right) / 2.0);
        put(
            out,
            format_args!(
                "<text transform=\"translate(13 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">\
                 commits</text>\n<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">crash \
                 before disk operation number</text>\n",
                self.bottom() + 38.0
            ),
        );
        let every = tick(self.moments.len() as u64, ((right - LEFT) / 60.0) as u64) as usize;
        for (index, moment) in self.moments.iter().enumerate().step_by(every) {
            let (x, bottom) = (self.x(index), self.bottom());
            put(
                out,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1} {bottom:.1}v5\"/><text x=\"{x:.1}\" \
                     y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    bottom + 19.0,
                    count(moment.operation)
                ),
            );
        }
    }

    /// What is allowed: from the durable to the submitted commits.
    fn band(&self, out: &mut String) {
        let half = self.rise * 0.25;
        for (index, moment) in self.moments.iter().enumerate() {
            let (top, bottom) = (self.y(moment.submitted) - half, self.y(moment.durable) + half);
            put(
                out,
                format_args!(
                    "<rect class=\"band\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" \
                     height=\"{:.1}\"/>",
                    self.x(index) - self.step / 2.0,
                    self.step,
                    (bottom - top).max(0.0)
                ),
            );
        }
        out.push('\n');
    }

    /// Something to point at for each crash point.
    fn columns(&self, out: &mut String) {
        for (index, moment) in self.moments.iter().enumerate() {
            put(
                out,
                format_args!(
                    "<rect class=\"moment\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" \
                     height=\"{:.1}\"><title>before operation {}, {}: {} submitted, {} \
                     acknowledged, {} durable; {} undecided</title></rect>\n",
                    self.x(index) - self.step / 2.0,
                    self.step,
                    self.height + AXIS + STRIP,
                    moment.operation,
                    Text(&moment.what),
                    moment.submitted,
                    moment.acknowledged,
                    moment.durable,
                    counted(moment.choices, "change"),
                ),
            );
        }
    }

    fn line(&self, class: &str, commits: impl Fn(&Moment) -> u64, out: &mut String) {
        put(out, format_args!("<path class=\"{class}\" d=\"M{LEFT}"));
        for (index, moment) in self.moments.iter().enumerate() {
            let y = self.y(commits(moment));
            if index == 0 {
                put(out, format_args!(" {y:.1}"));
            }
            put(out, format_args!("V{y:.1}H{:.1}", self.x(index) + self.step / 2.0));
        }
        out.push_str("\"/>\n");
    }

    fn dots(&self, out: &mut String) {
        let largest = (self.step * 0.5).min(self.rise * 0.45).clamp(2.0, 8.0);
        let most = states(self.moments).map(|(.., states)| states).max().unwrap_or(0).max(1);
        for (index, moment) in self.moments.iter().enumerate() {
            for (commits, states) in &moment.recovered {
                let part = (*states as f64 / most as f64).sqrt();
                let radius = 1.4 + (largest - 1.4) * part;
                let (x, y) = (self.x(index), self.y(*commits));
                if is_allowed(moment, *commits) {
                    put(
                        out,
                        format_args!(
                            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\">"
                        ),
                    );
                } else {
                    put(
                        out,
                        format_args!(
                            "<path class=\"outside\" d=\"M{x:.1} {:.1}l8 8-8 8-8-8z\">",
                            y - 8.0
                        ),
                    );
                }
                put(
                    out,
                    format_args!(
                        "<title>{} recovered to {}; before operation {}, {}: {} durable, {} \
                         submitted</title></{}>\n",
                        counted(*states, "state"),
                        counted(*commits, "commit"),
                        moment.operation,
                        Text(&moment.what),
                        moment.durable,
                        moment.submitted,
                        if is_allowed(moment, *commits) { "circle" } else { "path" },
                    ),
                );
            }
        }
    }

    /// The lines' names at their ends, kept apart.
    fn ends(&self, out: &mut String) {
        let Some(last) = self.moments.last() else { return };
        let ends = [
            ("submitted", last.submitted),
            ("acknowledged", last.acknowledged),
            ("durable", last.durable),
        ];
        let x = self.width - RIGHT + 8.0;
        let mut lowest = f64::MIN;
        for (name, commits) in ends {
            let y = (self.y(commits) + 4.5).max(lowest + 16.0);
            lowest = y;
            put(
                out,
                format_args!("<text class=\"{name}\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\n"),
            );
        }
    }

    /// How many changes each crash decided about.
    fn strip(&self, out: &mut String) {
        let base = self.bottom() + AXIS + STRIP;
        let most = self.moments.iter().map(|moment| moment.choices).max().unwrap_or(0).max(1);
        let width = (self.step * 0.7).min(14.0);
        for (index, moment) in
            self.moments.iter().enumerate().filter(|(_, moment)| moment.choices > 0)
        {
            let height = (STRIP - 6.0) * moment.choices as f64 / most as f64;
            put(
                out,
                format_args!(
                    "<rect class=\"choices\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                     height=\"{height:.1}\"><title>before operation {}: {} undecided</title></rect>\n",
                    self.x(index) - width / 2.0,
                    base - height,
                    moment.operation,
                    counted(moment.choices, "change"),
                ),
            );
        }
        let (right, x) = (self.width - RIGHT, (LEFT + self.width - RIGHT) / 2.0);
        put(
            out,
            format_args!(
                "<path class=\"grid\" d=\"M{LEFT} {base:.1}H{right:.1}\"/><text x=\"{:.1}\" \
                 y=\"{:.1}\" text-anchor=\"end\">{}</text><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">unsynced changes that the crash decided about</text>\n",
                LEFT - 8.0,
                base - STRIP + 16.0,
                count(most),
                base + 19.0,
            ),
        );
    }
}

/// A round distance between ticks, so that there are at most `ticks`.
fn tick(range: u64, ticks: u64) -> u64 {
    let least = range.div_ceil(ticks.max(1)).max(1);
    let mut unit = 1;
    loop {
        if let Some(round) = [1, 2, 5].into_iter().map(|n| n * unit).find(|n| *n >= least) {
            return round;
        }
        unit *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(operation: u64, durable: u64, submitted: u64, recovered: &[(u64, u64)]) -> Moment {
        Moment {
            operation,
            what: "flush of \"log\"".into(),
            submitted,
            acknowledged: durable,
            durable,
            choices: operation,
            recovered: recovered.to_vec(),
        }
    }

    #[test]
    fn dots_lie_between_the_lines_or_are_diamonds() {
        let within = [moment(3, 1, 3, &[(1, 5), (2, 1), (3, 9)]), moment(4, 2, 3, &[(2, 1)])];
        let draw = |moments: &[Moment]| {
            let mut out = String::new();
            section(&Picture { title: "a <run>".into(), moments: moments.to_vec() }, &mut out);
            out
        };
        let svg = draw(&within);
        assert_eq!(svg.matches("<circle class=\"dot\" cx=\"").count(), 4 + 2);
        assert!(svg.contains("Every dot lies between"), "{svg}");
        assert!(svg.contains("a &lt;run&gt;") && svg.contains("flush of &quot;log&quot;"));

        let lost = [moment(3, 2, 3, &[(1, 1), (2, 7)])];
        let svg = draw(&lost);
        assert!(svg.contains("1 dot outside the lines"), "{svg}");
        assert!(svg.contains("1 state recovered to 1 commit;"), "{svg}");
    }

    #[test]
    fn higher_is_more() {
        let moments = [moment(3, 1, 3, &[(1, 5)])];
        let plot = Plot::of(&moments);
        assert!(plot.y(3) < plot.y(1) && plot.y(0) <= plot.bottom() && plot.y(3) >= TOP);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!([tick(9, 10), tick(11, 10), tick(21, 10), tick(1000, 16)], [1, 2, 5, 100]);
        assert_eq!(tick(0, 0), 1);
    }
}
