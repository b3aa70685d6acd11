//! The difference of two means, with its confidence interval: Welch's, for samples that follow each other in time.
//!
//! A second of a run resembles the second before it, so that `n` seconds tell less than `n` independent ones. The number
//! that stands in the formulas is therefore `n (1 - r) / (1 + r)`, where `r` is the correlation of neighbours.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float saturates, and degrees of freedom are at least one"
)]

/// A range of values, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The fewest samples from which anything is concluded.
const FEWEST: usize = 3;

/// The interval that holds, with 95 % confidence, by how much the mean behind `b` is above the mean behind `a`. `None`
/// where there are fewer than three samples of either.
pub fn difference(a: &[f64], b: &[f64]) -> Option<Interval> {
    if a.len() < FEWEST || b.len() < FEWEST {
        return None;
    }
    let difference = mean(b)? - mean(a)?;
    let (a, b) = (Uncertainty::of(a)?, Uncertainty::of(b)?);
    let square = a.square + b.square;
    if square == 0.0 {
        return Some(Interval { low: difference, high: difference });
    }
    // Welch-Satterthwaite.
    let freedom = square * square / (a.square * a.square / (a.size - 1.0) + b.square * b.square / (b.size - 1.0));
    let reach = student(freedom) * square.sqrt();
    Some(Interval { low: difference - reach, high: difference + reach })
}

/// The mean, of at least one sample.
pub fn mean(samples: &[f64]) -> Option<f64> {
    (!samples.is_empty()).then(|| samples.iter().sum::<f64>() / samples.len() as f64)
}

/// How well a mean is known.
struct Uncertainty {
    /// Its standard error, squared.
    square: f64,
    /// Independent samples that would tell as much.
    size: f64,
}

impl Uncertainty {
    fn of(samples: &[f64]) -> Option<Self> {
        let (mean, length) = (mean(samples)?, samples.len() as f64);
        let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
        let neighbours: f64 = samples.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        let correlation = if squares > 0.0 { (neighbours / squares).clamp(0.0, 0.9) } else { 0.0 };
        let size = (length * (1.0 - correlation) / (1.0 + correlation)).max(2.0);
        Some(Self { square: squares / (length - 1.0) / size, size })
    }
}

/// The 97.5th percentile of Student's distribution, for degrees of freedom rounded down, which errs towards wide.
fn student(freedom: f64) -> f64 {
    const FEW: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    const NORMAL: f64 = 1.959_964;
    let freedom = freedom.floor().max(1.0);
    // Beyond the table: Abramowitz and Stegun, 26.7.5, first two terms.
    FEW.get(freedom as usize - 1).copied().unwrap_or(NORMAL + 2.372 / freedom + 2.823 / (freedom * freedom))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Standard normal samples from a seed: sums of twelve uniform ones.
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        std::iter::repeat_with(move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0)
    }

    #[test]
    fn the_interval_is_welchs_where_neighbours_are_independent() {
        let (a, b) = ([5.0, 1.0, 4.0, 2.0, 3.0], [8.0, 4.0, 10.0, 2.0, 6.0]);
        let interval = difference(&a, &b).expect("there are enough");
        // Difference 3, squared standard error 0.5 + 2, 5.88 degrees of freedom.
        assert!((interval.low - (3.0 - 2.571 * 2.5_f64.sqrt())).abs() < 1e-9, "{interval:?}");
        assert!((interval.high - (3.0 + 2.571 * 2.5_f64.sqrt())).abs() < 1e-9, "{interval:?}");
    }

    #[test]
    fn nineteen_of_twenty_intervals_hold_the_true_difference() {
        for drift in [0.0, 0.6] {
            let held = (0..1000).filter(|seed| {
                let sample = |seed: u64, level: f64| {
                    let mut last = 0.0;
                    let step = move |noise: f64| {
                        last = drift * last + noise;
                        level + last
                    };
                    noise(seed).map(step).skip(20).take(60).collect::<Vec<_>>()
                };
                let interval = difference(&sample(2 * seed + 1, 10.0), &sample(2 * seed + 2, 10.5)).expect("enough");
                (interval.low..=interval.high).contains(&0.5)
            });
            let held = held.count();
            assert!((920..=980).contains(&held), "with drift {drift}: {held} of 1000");
        }
    }

    #[test]
    fn samples_that_never_change_leave_no_doubt() {
        assert_eq!(difference(&[2.0; 5], &[3.0; 5]), Some(Interval { low: 1.0, high: 1.0 }));
    }

    #[test]
    fn nothing_is_concluded_from_two_samples() {
        assert_eq!(difference(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
    }

    #[test]
    fn students_distribution_has_no_step_where_the_table_ends() {
        for freedom in 1..100 {
            assert!(student(f64::from(freedom)) > student(f64::from(freedom + 1)), "{freedom}");
        }
        assert!((student(60.0) - 2.000).abs() < 0.001);
        assert!((student(1e9) - 1.960).abs() < 0.001);
    }
}
