//! Draws the crash states of one run.
//!
//! ```text
//!   commits
//!     ^            ____------  submitted       a state above it has writes from nowhere
//!     |      __---  o O  o
//!     |   __- o  O  O o        each dot: states that recovered to that many commits
//!     |  - O  o  ____========  durable         a state below it has lost durable commits
//!     | O  ======
//!     +--------------------->  crash points, in order
//!     ||..|:|..|||.:|..|       unsynced changes that the power loss decided about
//! ```

use maud::{Markup, html};

use super::super::summary::{Moment, Picture};
use crate::tools::present::html::section;
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
pub(super) fn draw(picture: &Picture) -> Markup {
    let about = format!(
        "One run: {}. Crashed before each of {}; {} recovered.",
        picture.title,
        counted(picture.moments.len() as u64, "disk operation"),
        counted(states(&picture.moments).map(|(_, _, states)| states).sum(), "state"),
    );
    let outside = states(&picture.moments).filter(|(moment, k, _)| !is_allowed(moment, *k)).count();
    let content = html! {
        @if outside == 0 {
            p {
                "Every dot lies between the durable line and the submitted line: no durable commit "
                "was lost, and nothing came from nowhere."
            }
        } @else {
            p.mark { (counted(outside as u64, "dot")) " outside the lines, drawn as diamonds." }
        }
        @if !picture.moments.is_empty() {
            (legend())
            (Plot::of(&picture.moments).draw())
        }
    };
    section("What the crashes left", &about, &content)
}

/// One item per dot: the moment, the commits, the number of states.
fn states(moments: &[Moment]) -> impl Iterator<Item = (&Moment, u64, u64)> {
    moments.iter().flat_map(|moment| moment.recovered.iter().map(move |(k, n)| (moment, *k, *n)))
}

fn is_allowed(moment: &Moment, commits: u64) -> bool {
    (moment.durable..=moment.submitted).contains(&commits)
}

fn legend() -> Markup {
    let line = |class: &str| html! { path class=(class) d="M1 7H33" {} };
    let dots = html! { circle.dot cx="8" cy="7" r="3" {} circle.dot cx="24" cy="7" r="6" {} };
    let diamond = html! { path.outside d="M17 0l7 7-7 7-7-7z" {} };
    let bars = html! { path.choices d="M6 14V8h6v6zM16 14V2h6v12z" {} };
    let entries = [
        (line("submitted"), "Submitted commits"),
        (line("acknowledged"), "acknowledged"),
        (line("durable"), "reported durable"),
        (dots, "states that recovered to that many; larger is more"),
        (diamond, "outside the lines"),
        (bars, "unsynced changes that the crash decided about"),
    ];
    html! {
        ul.legend {
            @for (sign, words) in entries {
                li { svg viewBox="0 0 34 14" aria-hidden="true" { (sign) } (words) }
            }
        }
    }
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

    fn draw(&self) -> Markup {
        let (width, height) = (self.width, TOP + self.height + AXIS + STRIP + FOOT);
        html! {
            div.scroll {
                svg.picture viewBox=(format_args!("0 0 {width:.0} {height:.0}"))
                    style=(format_args!("min-width:{:.0}px", width * 0.8)) role="img"
                    aria-label="Commits recovered at each crash point, between the durable and the \
                                submitted ones" {
                    (self.axes())
                    (self.band())
                    (self.columns())
                    // The durable line is drawn after the other lines: it is the promise.
                    (self.line("submitted", |moment| moment.submitted))
                    (self.line("acknowledged", |moment| moment.acknowledged))
                    (self.line("durable", |moment| moment.durable))
                    (self.dots())
                    (self.ends())
                    (self.strip())
                }
            }
        }
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

    fn axes(&self) -> Markup {
        let (right, bottom) = (self.width - RIGHT, self.bottom());
        let every_commits = tick(self.most_commits, (self.height / 26.0) as u64) as usize;
        let every_points = tick(self.moments.len() as u64, ((right - LEFT) / 60.0) as u64) as usize;
        let middle = TOP + self.height / 2.0;
        html! {
            @for commits in (0..=self.most_commits).step_by(every_commits) {
                @let y = self.y(commits);
                path.grid d=(format_args!("M{LEFT} {y:.1}H{right:.1}")) {}
                text x=(px(LEFT - 8.0)) y=(px(y + 4.5)) text-anchor="end" { (count(commits)) }
            }
            text transform=(format_args!("translate(13 {middle:.1}) rotate(-90)"))
                text-anchor="middle" { "commits" }
            text x=(px((LEFT + right) / 2.0)) y=(px(bottom + 38.0)) text-anchor="middle" {
                "crash before disk operation number"
            }
            @for (index, moment) in self.moments.iter().enumerate().step_by(every_points) {
                @let x = self.x(index);
                path.grid d=(format_args!("M{x:.1} {bottom:.1}v5")) {}
                text x=(px(x)) y=(px(bottom + 19.0)) text-anchor="middle" {
                    (count(moment.operation))
                }
            }
        }
    }

    /// The allowed band: from the durable to the submitted commits.
    fn band(&self) -> Markup {
        let half = self.rise * 0.25;
        html! {
            @for (index, moment) in self.moments.iter().enumerate() {
                @let top = self.y(moment.submitted) - half;
                @let bottom = self.y(moment.durable) + half;
                rect.band x=(px(self.x(index) - self.step / 2.0)) y=(px(top)) width=(px(self.step))
                    height=(px((bottom - top).max(0.0))) {}
            }
        }
    }

    /// A column with a tooltip for each crash point.
    fn columns(&self) -> Markup {
        html! {
            @for (index, moment) in self.moments.iter().enumerate() {
                rect.moment x=(px(self.x(index) - self.step / 2.0)) y=(TOP) width=(px(self.step))
                    height=(px(self.height + AXIS + STRIP)) {
                    title {
                        "before operation " (moment.operation) ", " (moment.what) ": "
                        (moment.submitted) " submitted, " (moment.acknowledged) " acknowledged, "
                        (moment.durable) " durable; " (counted(moment.choices, "change"))
                        " undecided"
                    }
                }
            }
        }
    }

    fn line(&self, class: &str, commits: impl Fn(&Moment) -> u64) -> Markup {
        let start = self.moments.first().map_or(0, &commits);
        let mut path = format!("M{LEFT} {:.1}", self.y(start));
        for (index, moment) in self.moments.iter().enumerate() {
            let (x, y) = (self.x(index) + self.step / 2.0, self.y(commits(moment)));
            path += &format!("V{y:.1}H{x:.1}");
        }
        html! { path class=(class) d=(path) {} }
    }

    fn dots(&self) -> Markup {
        let largest = (self.step * 0.5).min(self.rise * 0.45).clamp(2.0, 8.0);
        let most = states(self.moments).map(|(.., states)| states).max().unwrap_or(0).max(1);
        let dot = |x: f64, moment: &Moment, commits: u64, states: u64| {
            let radius = 1.4 + (largest - 1.4) * (states as f64 / most as f64).sqrt();
            let y = self.y(commits);
            let title = html! {
                title {
                    (counted(states, "state")) " recovered to " (counted(commits, "commit"))
                    "; before operation " (moment.operation) ", " (moment.what) ": "
                    (moment.durable) " durable, " (moment.submitted) " submitted"
                }
            };
            html! {
                @if is_allowed(moment, commits) {
                    circle.dot cx=(px(x)) cy=(px(y)) r=(px(radius)) { (title) }
                } @else {
                    path.outside d=(format_args!("M{x:.1} {:.1}l8 8-8 8-8-8z", y - 8.0)) { (title) }
                }
            }
        };
        html! {
            @for (index, moment) in self.moments.iter().enumerate() {
                @for (commits, states) in &moment.recovered {
                    (dot(self.x(index), moment, *commits, *states))
                }
            }
        }
    }

    /// The lines' names at their ends, kept apart.
    fn ends(&self) -> Markup {
        let Some(last) = self.moments.last() else { return Markup::default() };
        let mut lowest = f64::MIN;
        let ends = [
            ("submitted", last.submitted),
            ("acknowledged", last.acknowledged),
            ("durable", last.durable),
        ]
        .map(|(name, commits)| {
            lowest = (self.y(commits) + 4.5).max(lowest + 16.0);
            (name, lowest)
        });
        let x = px(self.width - RIGHT + 8.0);
        html! { @for (name, y) in ends { text class=(name) x=(x) y=(px(y)) { (name) } } }
    }

    /// The number of changes that each crash decided about.
    fn strip(&self) -> Markup {
        let base = self.bottom() + AXIS + STRIP;
        let most = self.moments.iter().map(|moment| moment.choices).max().unwrap_or(0).max(1);
        let width = (self.step * 0.7).min(14.0);
        let right = self.width - RIGHT;
        html! {
            @for (index, moment) in self.moments.iter().enumerate() {
                @if moment.choices > 0 {
                    @let height = (STRIP - 6.0) * moment.choices as f64 / most as f64;
                    rect.choices x=(px(self.x(index) - width / 2.0)) y=(px(base - height))
                        width=(px(width)) height=(px(height)) {
                        title {
                            "before operation " (moment.operation) ": "
                            (counted(moment.choices, "change")) " undecided"
                        }
                    }
                }
            }
            path.grid d=(format_args!("M{LEFT} {base:.1}H{right:.1}")) {}
            text x=(px(LEFT - 8.0)) y=(px(base - STRIP + 16.0)) text-anchor="end" { (count(most)) }
            text x=(px((LEFT + right) / 2.0)) y=(px(base + 19.0)) text-anchor="middle" {
                "unsynced changes that the crash decided about"
            }
        }
    }
}

/// A measure as SVG takes it, to a tenth.
fn px(measure: f64) -> String {
    format!("{measure:.1}")
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
    fn dots_outside_the_lines_are_diamonds() {
        let within = [moment(3, 1, 3, &[(1, 5), (2, 1), (3, 9)]), moment(4, 2, 3, &[(2, 1)])];
        let draw = |moments: &[Moment]| {
            draw(&Picture { title: "a <run>".into(), moments: moments.to_vec() }).into_string()
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
    fn more_commits_are_higher() {
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
