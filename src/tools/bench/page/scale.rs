//! Scales: from values to places, and their ticks.
//!
//! - SCALE-1 A linear scale begins at zero: a double value has a double length.
//! - SCALE-2 A logarithmic scale spans whole decades, at least one. No bar begins at its lower end, which
//!   is not zero.
//! - SCALE-3 Every place lies within 0 to 1, for any value: no figure breaks a chart.

/// A scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From zero to `ticks` steps.
    Linear {
        /// Between two ticks.
        step: f64,
        /// How many of them.
        ticks: u32,
    },
    /// Powers of ten.
    Log {
        /// The exponent at the lower end.
        low: i32,
        /// The exponent at the upper end.
        high: i32,
    },
}

/// A mark on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tick {
    /// Of the scale, from 0 to 1.
    pub(super) place: f64,
    /// Absent for a line without a label.
    pub(super) value: Option<f64>,
}

impl Tick {
    /// The class of its line, which is fine without a label.
    pub(super) fn class(&self) -> &'static str {
        if self.value.is_some() { "grid" } else { "grid fine" }
    }
}

impl Scale {
    /// From zero to at least the greatest of `values`, with at most `most_ticks` steps.
    pub(super) fn from_zero(values: impl IntoIterator<Item = f64>, most_ticks: u32) -> Scale {
        let greatest = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        if greatest <= 0.0 {
            return Scale::Linear { step: 1.0, ticks: 1 };
        }
        let least_step = greatest / f64::from(most_ticks.max(1));
        let unit = 10f64.powi(least_step.log10().floor() as i32);
        let round = [1.0, 2.0, 5.0, 10.0].map(|n| n * unit);
        // The tolerance is for rounding: 0.3 would need more than three steps of 0.1.
        let step = round.into_iter().find(|step| *step >= least_step * (1.0 - 1e-9));
        let step = step.unwrap_or(round[3]);
        Scale::Linear { step, ticks: (greatest / step - 1e-9).ceil().max(1.0) as u32 }
    }

    /// Whole decades around the positive ones of `values`.
    pub(super) fn decades(values: impl IntoIterator<Item = f64>) -> Scale {
        let exponents =
            values.into_iter().filter(|value| value.is_finite() && *value > 0.0).map(f64::log10);
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for exponent in exponents {
            (low, high) = (low.min(exponent), high.max(exponent));
        }
        if low > high {
            return Scale::Log { low: 0, high: 1 };
        }
        let low = (low + 1e-9).floor() as i32;
        Scale::Log { low, high: ((high - 1e-9).ceil() as i32).max(low + 1) }
    }

    /// Where `value` is, from 0 to 1 (SCALE-3).
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Scale::Linear { step, ticks } => value / (step * f64::from(ticks)),
            Scale::Log { low, high } => {
                (value.max(f64::MIN_POSITIVE).log10() - f64::from(low)) / f64::from(high - low)
            }
        };
        // NaN counts as 0.
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// The marks, in ascending order, both ends among them. A logarithmic scale has at most
    /// `labels` with a label; a linear one was made with as many as there is room for.
    pub(super) fn ticks(self, labels: u32) -> Vec<Tick> {
        let tick = |value: f64, is_labelled: bool| Tick {
            place: self.place(value),
            value: is_labelled.then_some(value),
        };
        match self {
            Scale::Linear { step, ticks } => {
                (0..=ticks).map(|number| tick(step * f64::from(number), true)).collect()
            }
            Scale::Log { low, high } => {
                let decades = high - low;
                let labels = (labels as i32).max(2);
                let every = (decades + labels - 2) / (labels - 1);
                let has_room = decades * 3 < labels;
                let mut ticks = Vec::new();
                for exponent in low..=high {
                    let unit = 10f64.powi(exponent);
                    ticks.push(tick(unit, (exponent - low) % every == 0));
                    if exponent < high && decades <= 3 {
                        ticks.extend([2.0, 5.0].map(|n| tick(n * unit, has_room)));
                    }
                }
                ticks
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<f64> {
        let rounded = |value: f64| (value * 1e9).round() / 1e9;
        scale.ticks(7).iter().filter_map(|tick| tick.value).map(rounded).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_begin_at_zero() {
        assert_eq!(labels(Scale::from_zero([7.0, 93.0], 5)), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(labels(Scale::from_zero([0.3], 3)), [0.0, 0.1, 0.2, 0.3]);
        assert_eq!(labels(Scale::from_zero([1.0], 4)), [0.0, 0.5, 1.0]);
        assert_eq!(labels(Scale::from_zero([1_010_000.0], 4)), [0.0, 5e5, 1e6, 1.5e6]);
        assert_eq!(labels(Scale::from_zero([], 4)), [0.0, 1.0]);
    }

    #[test]
    fn linear_ticks_are_few_and_fill_the_scale() {
        for hundredth in 1..2000 {
            let scale = Scale::from_zero([f64::from(hundredth) / 100.0], 5);
            let Scale::Linear { ticks, .. } = scale else { unreachable!("a linear scale") };
            assert!((1..=5).contains(&ticks), "{hundredth}: {scale:?}");
            assert!(scale.place(f64::from(hundredth) / 100.0) > 0.3, "{hundredth}: {scale:?}");
        }
    }

    #[test]
    fn twice_as_much_is_twice_as_far() {
        let scale = Scale::from_zero([80.0], 4);
        assert_eq!(scale.place(40.0) * 2.0, scale.place(80.0));
        assert_eq!(scale.place(0.0), 0.0);
    }

    #[test]
    fn a_logarithmic_scale_spans_whole_decades() {
        assert_eq!(Scale::decades([3.0, 450.0]), Scale::Log { low: 0, high: 3 });
        assert_eq!(Scale::decades([0.85]), Scale::Log { low: -1, high: 0 });
        assert_eq!(Scale::decades([1.0, 100.0]), Scale::Log { low: 0, high: 2 });
        assert_eq!(Scale::decades([10.0]), Scale::Log { low: 1, high: 2 });
        assert_eq!(Scale::decades([0.0, f64::NAN]), Scale::Log { low: 0, high: 1 });
        let scale = Scale::decades([1.0, 900.0]);
        assert!((scale.place(10.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(labels(scale), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(labels(Scale::decades([2.0, 30.0])), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(labels(Scale::decades([1e-3, 1e5])), [1e-3, 1e-1, 1e1, 1e3, 1e5]);
        let few = Scale::decades([1.0, 1e5]).ticks(4);
        assert_eq!(few.iter().filter(|tick| tick.value.is_some()).count(), 3);
    }

    #[test]
    fn every_place_is_on_the_chart() {
        for scale in [Scale::from_zero([8.0], 4), Scale::decades([1.0, 8.0])] {
            for value in [-1.0, 0.0, 1e300, f64::NAN, f64::INFINITY] {
                assert!((0.0..=1.0).contains(&scale.place(value)), "{scale:?} {value}");
            }
        }
    }
}
