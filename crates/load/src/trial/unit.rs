//! How figures are written for people: grouped digits, three significant ones, and the unit that suits the size.

#![expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates, and what is cast is rounded")]

use std::time::Duration;

/// Writes a number with its digits grouped: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a number with three significant digits, or more before the point: `0.00123`, `4.31`, `12,346`.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return "?".into();
    }
    let magnitude = value.abs().log10().floor().clamp(-9.0, 18.0);
    if magnitude < 2.0 {
        // From the rounded number: 9.996 is 10.0, with one digit less after the point.
        let after_point = |magnitude: f64| (2.0 - magnitude).max(0.0) as usize;
        let text = format!("{value:.*}", after_point(magnitude));
        let rounded = text.parse::<f64>().map_or(magnitude, |rounded| rounded.abs().log10().floor());
        return if rounded > magnitude { format!("{value:.*}", after_point(rounded)) } else { text };
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", count(value.abs().round() as u64))
}

/// Writes a time that is given in microseconds: `210 µs`, `1.20 ms`, `2.50 s`.
pub fn micros(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size < 999.5 => (value, "µs"),
        size if size < 999_500.0 => (value / 1e3, "ms"),
        _ => (value / 1e6, "s"),
    };
    format!("{} {unit}", number(scaled))
}

/// Writes a share of the whole, from 0 to 1, in percent: `1.50 %`.
pub fn share(value: f64) -> String {
    percent(value * 100.0)
}

/// Writes a number of percent: `43.2 %`.
pub fn percent(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.0001 { "<0.0001 %".into() } else { format!("{} %", number(value)) }
}

/// Writes an amount of memory: `12.1 MiB`.
pub fn bytes(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size < 1024.0 => (value, "B"),
        size if size < 1024.0 * 1024.0 => (value / 1024.0, "KiB"),
        size if size < 1024.0 * 1024.0 * 1024.0 => (value / (1024.0 * 1024.0), "MiB"),
        _ => (value / (1024.0 * 1024.0 * 1024.0), "GiB"),
    };
    format!("{} {unit}", number(scaled))
}

/// Writes bits per second: `25.6 Mbit/s`.
pub fn bits(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size < 1e3 => (value, "bit/s"),
        size if size < 1e6 => (value / 1e3, "kbit/s"),
        size if size < 1e9 => (value / 1e6, "Mbit/s"),
        _ => (value / 1e9, "Gbit/s"),
    };
    format!("{} {unit}", number(scaled))
}

/// Writes how long something lasts, as [`parse_duration`] reads it: `500ms`, `1.5s`, `1m30s`.
pub fn duration(value: Duration) -> String {
    let whole = value.as_secs();
    if value.subsec_nanos() != 0 {
        let seconds = value.as_secs_f64();
        return if whole == 0 { format!("{}ms", (seconds * 1e6).round() / 1e3) } else { format!("{seconds:.1}s") };
    }
    let parts = [(whole / 3600, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}

/// Writes seconds in the same way, to a tenth.
pub fn seconds(value: f64) -> String {
    duration(Duration::try_from_secs_f64((value * 10.0).round() / 10.0).unwrap_or_default())
}

/// Reads numbers with their units: `500ms`, `1.5s`, `1m30s`, `2h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let length = match unit.trim() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * length;
        rest = tail;
    }
    // A year is more than any trial lasts, and far from where a duration overflows.
    (!text.trim().is_empty() && seconds <= 31_536_000.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let written = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_number_has_three_significant_digits_and_no_fewer_before_the_point() {
        for (value, text) in [
            (0.0, "0"),
            (0.001_234, "0.00123"),
            (4.306, "4.31"),
            (9.996, "10.0"),
            (99.96, "100"),
            (12_345.6, "12,346"),
            (-0.5, "-0.500"),
            (-1234.0, "-1,234"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_figure_gets_the_unit_that_suits_its_size() {
        assert_eq!([210.0, 999.7, 1_200.0, 2.5e6].map(micros), ["210 µs", "1.00 ms", "1.20 ms", "2.50 s"]);
        assert_eq!([12.0, 2048.0, 12_687_769.0].map(bytes), ["12.0 B", "2.00 KiB", "12.1 MiB"]);
        assert_eq!([25.6e6, 1.5e9].map(bits), ["25.6 Mbit/s", "1.50 Gbit/s"]);
    }

    #[test]
    fn a_share_that_is_not_zero_is_not_written_as_zero() {
        assert_eq!([0.0, 1e-9, 0.015, 1.0].map(share), ["0 %", "<0.0001 %", "1.50 %", "100 %"]);
    }

    #[test]
    fn a_duration_is_read_as_it_is_written() {
        for (milliseconds, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1_500, "1.5s"),
            (10_000, "10s"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (3_661_000, "1h1m1s"),
        ] {
            let value = Duration::from_millis(milliseconds);
            assert_eq!((duration(value).as_str(), parse_duration(text)), (text, Some(value)));
        }
        assert_eq!(parse_duration(" 2 min "), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("250us"), Some(Duration::from_micros(250)));
    }

    #[test]
    fn a_duration_needs_its_unit() {
        for wrong in ["", " ", "10", "s", "-1s", "1d", "1..5s", "10s5", "99999999999999999999s", "1e3s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
