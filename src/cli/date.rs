//! Dates out of seconds since 1970, in UTC: an initramfs has no time zones.

use core::fmt::{self, Display, Formatter};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From the first of January 1970 on, which was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A second of UTC; shown as `2026-11-22 15:04:05`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    year: u64,
    /// 1..=12.
    month: u64,
    day: u64,
    weekday: &'static str,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Date {
    /// Of so many seconds since 1970.
    pub fn of(seconds: u64) -> Date {
        // Days to civil date: H. Hinnant, "chrono-compatible low-level date algorithms". Years begin on the first of March.
        let since_1970 = (seconds / 86_400).min(u64::from(u32::MAX));
        let days = since_1970 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let weekday = WEEKDAYS[(since_1970 % 7) as usize];
        Date { year, month, day, weekday, hour: seconds / 3600 % 24, minute: seconds / 60 % 60, second: seconds % 60 }
    }
}

impl Display for Date {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Date { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// As ctime(3) shows it: `Sun Nov 22 15:04:05 2026`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ctime(pub Date);

impl Display for Ctime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Date { year, month, day, weekday, hour, minute, second } = self.0;
        let month = MONTHS[(month as usize - 1).min(11)];
        write!(f, "{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, date, ctime) in [
            (0, "1970-01-01 00:00:00", "Thu Jan  1 00:00:00 1970"),
            (951_782_400, "2000-02-29 00:00:00", "Tue Feb 29 00:00:00 2000"),
            (1_795_361_445, "2026-11-22 15:30:45", "Sun Nov 22 15:30:45 2026"),
            (4_107_542_399, "2100-02-28 23:59:59", "Sun Feb 28 23:59:59 2100"),
            (4_107_542_400, "2100-03-01 00:00:00", "Mon Mar  1 00:00:00 2100"),
        ] {
            assert_eq!(
                (Date::of(seconds).to_string(), Ctime(Date::of(seconds)).to_string()),
                (date.into(), ctime.into())
            );
        }
        let _ = Ctime(Date::of(u64::MAX)).to_string();
    }
}
