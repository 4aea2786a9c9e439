//! The expiry of a token: from a TOML date to a point in time.

use std::time::{Duration, SystemTime};

use toml::value::{Date, Datetime, Offset, Time};

const DAY: i64 = 24 * 3600;

/// The point in time of a date. A date without a time means the beginning of that day, in UTC.
///
/// # Errors
/// The date is missing, the time zone is missing, or the date is before 1970.
pub(super) fn moment(date: &Datetime) -> Result<SystemTime, String> {
    let Some(day) = date.date else { return Err(format!("{date} has no date")) };
    let seconds = match (date.time, date.offset) {
        (None, _) => 0,
        (Some(time), Some(offset)) => seconds_of(time) - 60 * minutes_of(offset),
        (Some(_), None) => {
            return Err(format!("{date} has no time zone: add a Z for UTC"));
        }
    };
    let since = days_since_1970(day) * DAY + seconds;
    let since = u64::try_from(since).map_err(|_| format!("{date} is before 1970"))?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(since))
}

fn seconds_of(time: Time) -> i64 {
    let Time { hour, minute, second, .. } = time;
    i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.unwrap_or(0))
}

fn minutes_of(offset: Offset) -> i64 {
    match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    }
}

/// In the Gregorian calendar. The year begins in March, so that a leap day is its last.
fn days_since_1970(day: Date) -> i64 {
    let (year, month) = (i64::from(day.year), i64::from(day.month));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Days of the months before: the pattern 31 30 31 30 31 repeats.
    let in_year = (153 * month + 2) / 5 + i64::from(day.day) - 1;
    year * 365 + leap_days + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> u64 {
        let moment = moment(&text.parse().unwrap()).unwrap();
        moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn dates_become_points_in_time() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1970-01-02T00:00:01Z", 86_401),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2027-01-31T12:30:00Z", 1_801_398_600),
            ("2027-01-31T12:30:00+02:00", 1_801_391_400),
            ("2100-03-01", 4_107_542_400),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for text in ["1969-12-31", "2027-01-31T12:30:00", "12:30:00"] {
            moment(&text.parse().unwrap()).unwrap_err();
        }
    }
}
