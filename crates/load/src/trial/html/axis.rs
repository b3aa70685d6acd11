//! The axes of a plot: from a value to its place, and the places that get a label.

#![expect(clippy::cast_possible_truncation, reason = "ticks are few; a cast of a float saturates")]

use crate::trial::unit;

/// One axis of a plot.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    /// Values with their labels, upwards.
    pub(super) ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

/// How many steps a linear axis has at most.
const STEPS: f64 = 5.0;

impl Axis {
    /// From zero to a round number that is no less than `most`.
    pub(super) fn linear(most: f64, written: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let decade = 10_f64.powf((most / STEPS).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| most / step <= STEPS);
        let step = step.unwrap_or(10.0 * decade);
        let steps = (most / step - 1e-9).ceil() as u32;
        let ticks = (0..=steps).map(|n| f64::from(n) * step).map(|value| (value, short(&written(value)))).collect();
        Self { low: 0.0, high: f64::from(steps) * step, scale: Scale::Linear, ticks }
    }

    /// From the beginning of a run to its end, in seconds.
    pub(super) fn time(end: f64) -> Self {
        const STEP: [f64; 16] =
            [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0];
        let end = end.max(0.1);
        let step = STEP.into_iter().find(|step| end / step <= 8.0).unwrap_or(14_400.0);
        let ticks =
            (0..=(end / step + 1e-9) as u32).map(|n| f64::from(n) * step).map(|at| (at, unit::seconds(at))).collect();
        Self { low: 0.0, high: end, scale: Scale::Linear, ticks }
    }

    /// From a value to a larger one, both above zero, by their ratio. Ticks at 1, 2 and 5 of each decade, or at fewer
    /// where there are many decades.
    pub(super) fn logarithmic(low: f64, high: f64, written: impl Fn(f64) -> String) -> Self {
        let low = low.max(1e-9);
        let high = high.max(low * 2.0);
        let decades = (high / low).log10();
        let digits: &[f64] = if decades <= 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let first = low.log10().floor() as i32;
        let places = (first..=high.log10().ceil() as i32).flat_map(|n| digits.iter().map(move |d| d * 10_f64.powi(n)));
        let ticks = places.filter(|value| (low * 0.999..=high * 1.001).contains(value));
        let ticks = ticks.map(|value| (value, short(&written(value)))).collect();
        Self { low, high, scale: Scale::Logarithmic, ticks }
    }

    /// Percentiles, by how few values are above: 90 %, 99 % and 99.9 % are equally far apart. Values on it are
    /// `1 / (1 - share)`, up to the number of values.
    pub(super) fn percentiles(count: f64) -> Self {
        const TICKS: [(f64, &str); 7] = [
            (2.0, "50 %"),
            (1e1, "90 %"),
            (1e2, "99 %"),
            (1e3, "99.9 %"),
            (1e4, "99.99 %"),
            (1e5, "99.999 %"),
            (1e6, "99.9999 %"),
        ];
        let high = count.max(10.0);
        let ticks = TICKS.into_iter().filter(|(value, _)| *value <= high).map(|(value, text)| (value, text.into()));
        Self { low: 1.0, high, scale: Scale::Logarithmic, ticks: ticks.collect() }
    }

    /// Where a value is: 0 at the low end, 1 at the high end, never beyond either.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        place.clamp(0.0, 1.0)
    }
}

/// A label without the zeros that say how exact a figure is: a tick is exact.
fn short(label: &str) -> String {
    let (number, unit) = label.split_at(label.find(' ').unwrap_or(label.len()));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_at_a_round_number_and_has_few_ticks() {
        for (most, high, ticks) in
            [(0.0, 1.0, 6), (7.3, 8.0, 5), (100.0, 100.0, 6), (10_001.0, 15_000.0, 4), (0.012, 0.015, 4)]
        {
            let axis = Axis::linear(most, unit::number);
            assert!((axis.high - high).abs() < 1e-9, "{most}: {axis:?}");
            assert_eq!(axis.ticks.len(), ticks, "{most}: {axis:?}");
            assert!((axis.place(most) - most / high).abs() < 1e-9);
        }
    }

    #[test]
    fn a_logarithmic_axis_gives_each_decade_the_same_room() {
        let axis = Axis::logarithmic(10.0, 100_000.0, unit::micros);
        for (value, place) in [(10.0, 0.0), (100.0, 0.25), (1000.0, 0.5), (100_000.0, 1.0), (1e9, 1.0), (0.0, 0.0)] {
            assert!((axis.place(value) - place).abs() < 1e-9, "{value}");
        }
        let labels: Vec<_> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"]);
    }

    #[test]
    fn time_is_cut_at_round_places_for_a_second_and_for_a_day() {
        for end in [0.5, 1.0, 10.0, 61.5, 600.0, 86_400.0] {
            let axis = Axis::time(end);
            assert!((3..=9).contains(&axis.ticks.len()), "{end}: {:?}", axis.ticks);
            assert!(axis.ticks.iter().all(|(at, _)| *at <= end + 1e-6), "{end}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn percentiles_end_where_single_values_are_left() {
        let axis = Axis::percentiles(5_000.0);
        assert_eq!(axis.ticks.last().map(|(_, label)| label.as_str()), Some("99.9 %"));
        assert_eq!(axis.place(1.0), 0.0);
        assert_eq!(axis.place(5_000.0), 1.0);
    }
}
