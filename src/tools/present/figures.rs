//! Figures for people: three digits and a unit.

/// Three significant digits: 0.123, 1.23, 12.3, 123; whole numbers above.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    match size {
        // At each bound, rounding would make a fourth digit.
        _ if size == 0.0 => "0".into(),
        _ if size < 0.9995 => format!("{value:.3}"),
        _ if size < 9.995 => format!("{value:.2}"),
        _ if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A length of time.
pub(crate) fn time(us: f64) -> String {
    let (value, unit) = time_parts(us);
    format!("{} {unit}", digits(value))
}

/// A length of time at an axis, where it is round.
pub(crate) fn time_tick(us: f64) -> String {
    if us == 0.0 {
        return "0".into();
    }
    let (value, unit) = time_parts(us);
    format!("{} {unit}", plain(value))
}

fn time_parts(us: f64) -> (f64, &'static str) {
    match us {
        _ if us == 0.0 => (0.0, "\u{b5}s"),
        _ if us < 0.9995 => (us * 1000.0, "ns"),
        _ if us < 999.5 => (us, "\u{b5}s"),
        _ if us < 999_500.0 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    }
}

/// A count with a unit for thousands: "12.3 k", "4.56 M".
pub(crate) fn many(value: f64) -> String {
    let (value, unit) = many_parts(value);
    format!("{}{unit}", digits(value))
}

/// The same at an axis.
pub(crate) fn many_tick(value: f64) -> String {
    let (value, unit) = many_parts(value);
    format!("{}{unit}", plain(value))
}

fn many_parts(value: f64) -> (f64, &'static str) {
    match value {
        _ if value < 999.5 => (value, ""),
        _ if value < 999_500.0 => (value / 1e3, " k"),
        _ if value < 999_500_000.0 => (value / 1e6, " M"),
        _ => (value / 1e9, " G"),
    }
}

/// A ratio: "2.50\u{d7}".
pub(crate) fn times(ratio: f64) -> String {
    format!("{}\u{d7}", digits(ratio))
}

/// The same at an axis.
pub(crate) fn times_tick(ratio: f64) -> String {
    format!("{}\u{d7}", plain(ratio))
}

/// A number of bytes, exact if it is round.
pub(crate) fn bytes(count: u64) -> String {
    let (value, unit) = match count {
        0..1024 => (count as f64, "B"),
        1024..0x10_0000 => (count as f64 / 1024.0, "KiB"),
        0x10_0000..0x4000_0000 => (count as f64 / 1_048_576.0, "MiB"),
        _ => (count as f64 / 1_073_741_824.0, "GiB"),
    };
    format!("{} {unit}", if value.fract() == 0.0 { plain(value) } else { digits(value) })
}

/// The day of a time since 1970, in the Gregorian calendar.
pub(crate) fn date(unix_s: u64) -> String {
    // Days since the first of March of the year 0, so that leap days come last in their year.
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// A number without trailing zeros.
pub(crate) fn plain(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let of = [0.0, 0.0421, 0.9999, 1.234, 9.999, 99.99, 1234.4].map(digits);
        assert_eq!(of, ["0", "0.042", "1.00", "1.23", "10.0", "100", "1234"]);
    }

    #[test]
    fn times_have_units() {
        let of = [0.0, 0.085, 0.9999, 12.34, 999.9, 1234.0, 2_500_000.0].map(time);
        let expected = [
            "0 \u{b5}s",
            "85.0 ns",
            "1.00 \u{b5}s",
            "12.3 \u{b5}s",
            "1.00 ms",
            "1.23 ms",
            "2.50 s",
        ];
        assert_eq!(of, expected);
        assert_eq!([0.1, 1.0, 1000.0, 1e7].map(time_tick), ["100 ns", "1 \u{b5}s", "1 ms", "10 s"]);
    }

    #[test]
    fn counts_have_units() {
        assert_eq!([0.0, 12.0, 12_345.0, 1_234_567.0].map(many), ["0", "12.0", "12.3 k", "1.23 M"]);
        assert_eq!([0.0, 0.5, 200_000.0, 1.5e6].map(many_tick), ["0", "0.5", "200 k", "1.5 M"]);
        assert_eq!((times(2.5), times_tick(0.5)), ("2.50\u{d7}".into(), "0.5\u{d7}".into()));
        assert_eq!(times_tick(1e-4), "0.0001\u{d7}");
    }

    #[test]
    fn days_have_dates() {
        let of = [0, 951_782_400, 951_868_800, 1_767_225_599, 4_107_542_400].map(date);
        assert_eq!(of, ["1970-01-01", "2000-02-29", "2000-03-01", "2025-12-31", "2100-03-01"]);
    }

    #[test]
    fn bytes_are_exact_if_round() {
        let of = [150, 4096, 1536, 512 << 20, 8_218_234_880].map(bytes);
        assert_eq!(of, ["150 B", "4 KiB", "1.50 KiB", "512 MiB", "7.65 GiB"]);
    }
}
