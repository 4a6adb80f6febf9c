//! Numbers as people read them: exact counts in groups of three, times and rates in fitting units.

use std::time::Duration;

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rate, whole from 10 on.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 9.95 { format!("{per_second:.1}") } else { count(per_second.round() as u64) }
}

/// A number of microseconds, to three digits: `0.42 µs`, `17.3 ms`, `2.05 s`.
pub(super) fn micros(micros: f64) -> String {
    let (value, unit) = match micros {
        m if m < 999.5 => (m, "µs"),
        m if m < 999_500.0 => (m / 1e3, "ms"),
        m => (m / 1e6, "s"),
    };
    let decimals = match value {
        v if v == 0.0 || v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

/// A time that has passed: `0.184 s`, `12.3 s`, `3 min 05 s`, `2 h 07 min`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.3} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time in whole seconds: `5 s`, `3 min 05 s`, `2 h 07 min`, `12 d 03 h`.
pub(super) fn seconds(seconds: u64) -> String {
    const DAY: u64 = 24 * 3600;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..DAY => duration(Duration::from_secs(seconds)),
        _ => format!("{} d {:02} h", seconds / DAY, seconds / 3600 % 24),
    }
}

/// Points of CPU as cores: `4`, `0.5`; `-` where there is no limit.
pub(super) fn cores(points: f64) -> String {
    if points > 0.0 { format!("{}", (points / 10.0).round() / 10.0) } else { "-".to_owned() }
}

/// Mebibytes, to three digits: `512 MiB`, `7.75 GiB`; `-` where there is no limit.
pub(super) fn memory(mebibytes: f64) -> String {
    match mebibytes {
        mb if mb <= 0.0 => "-".to_owned(),
        mb if mb < 1023.5 => format!("{mb:.0} MiB"),
        mb if mb < 10_235.0 => format!("{:.2} GiB", mb / 1024.0),
        mb if mb < 102_348.0 => format!("{:.1} GiB", mb / 1024.0),
        mb => format!("{} GiB", count((mb / 1024.0).round() as u64)),
    }
}

/// `1 error`, `2 errors`.
pub(super) fn plural(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable_and_counts_exact() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (number, text) in [(0.0, "0.0"), (3.25, "3.2"), (10.4, "10"), (1_234.5, "1,235")] {
            assert_eq!(rate(number), text);
        }
        for (number, text) in [
            (0.0, "0 µs"),
            (0.42, "0.42 µs"),
            (9.999, "10.0 µs"),
            (17_300.0, "17.3 ms"),
            (999_600.0, "1.00 s"),
            (123_456_789.0, "123 s"),
        ] {
            assert_eq!(micros(number), text);
        }
        for (millis, text) in [(184, "0.184 s"), (12_340, "12.3 s"), (185_000, "3 min 05 s"), (7_620_000, "2 h 07 min")]
        {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        for (points, text) in [(0.0, "-"), (50.0, "0.5"), (350.0, "3.5"), (400.0, "4"), (6_400.0, "64")] {
            assert_eq!(cores(points), text);
        }
        for (mebibytes, text) in
            [(0.0, "-"), (512.0, "512 MiB"), (7_936.0, "7.75 GiB"), (31_800.0, "31.1 GiB"), (1_048_576.0, "1,024 GiB")]
        {
            assert_eq!(memory(mebibytes), text);
        }
        for (number, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min 00 s"), (7_620, "2 h 07 min"), (90_000, "1 d 01 h")]
        {
            assert_eq!(seconds(number), text);
        }
    }
}
