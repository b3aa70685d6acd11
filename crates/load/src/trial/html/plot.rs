//! A plot as inline SVG: axes, grid, lines, bars, marked places, and what is shown where the pointer rests.

use std::fmt::Write as _;

use super::axis::Axis;
use super::escaped;

/// The drawing, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 250.0;
/// What is left free for labels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;

/// The colour of a series; what it is, is in the style sheet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Colour {
    First,
    Second,
    /// The second, drawn so that a line above it leaves it to be seen.
    Behind,
    Bad,
}

impl Colour {
    const fn class(self) -> &'static str {
        match self {
            Self::First => "one",
            Self::Second => "two",
            Self::Behind => "behind",
            Self::Bad => "bad",
        }
    }
}

/// A plot that is being drawn.
pub(super) struct Plot {
    name: String,
    x: Axis,
    y: Axis,
    /// SVG of what is drawn so far.
    drawn: String,
    /// Names of the series, with their colours.
    keys: Vec<(String, Colour)>,
    /// How many places are marked.
    marks: u8,
}

impl Plot {
    /// An empty plot.
    pub(super) fn new(name: &str, x: Axis, y: Axis) -> Self {
        Self { name: name.into(), x, y, drawn: String::new(), keys: Vec::new(), marks: 0 }
    }

    /// A line through points; it is interrupted where there is no value.
    pub(super) fn line(&mut self, name: &str, colour: Colour, points: impl IntoIterator<Item = (f64, Option<f64>)>) {
        self.keys.push((name.into(), colour));
        let points: Vec<_> = points.into_iter().collect();
        let mut path = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let Some(y) = y else { continue };
            let begins = at == 0 || points[at - 1].1.is_none();
            let ends = points.get(at + 1).is_none_or(|(_, y)| y.is_none());
            let (x, y) = (self.across(*x), self.down(*y));
            if begins && ends {
                self.dot_at(x, y, colour);
            } else {
                let _ = write!(path, "{}{x:.1} {y:.1}", if begins { 'M' } else { 'L' });
            }
        }
        if !path.is_empty() {
            let _ = write!(self.drawn, r#"<path class="line {}" d="{path}"/>"#, colour.class());
        }
    }

    /// A dot.
    pub(super) fn dot(&mut self, x: f64, y: f64, colour: Colour) {
        self.dot_at(self.across(x), self.down(y), colour);
    }

    fn dot_at(&mut self, x: f64, y: f64, colour: Colour) {
        let _ = write!(self.drawn, r#"<circle class="dot {}" cx="{x:.1}" cy="{y:.1}" r="4"/>"#, colour.class());
    }

    /// A bar from one place of the horizontal axis to another.
    pub(super) fn bar(&mut self, from: f64, to: f64, y: f64, colour: Colour) {
        let (left, right, top) = (self.across(from), self.across(to), self.down(y));
        let width = (right - left - 1.0).max(0.8);
        let height = HEIGHT - BOTTOM - top;
        let class = colour.class();
        let _ = write!(
            self.drawn,
            r#"<rect class="bar {class}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"/>"#
        );
    }

    /// A place on the horizontal axis, with its name beside it. Each is a little lower than the one before.
    pub(super) fn mark(&mut self, x: f64, name: &str) {
        let (x, top) = (self.across(x), TOP + 10.0 + 14.0 * f64::from(self.marks % 6));
        self.marks = self.marks.saturating_add(1);
        let (text, anchor) = if x > WIDTH - RIGHT - 110.0 { (x - 4.0, "end") } else { (x + 4.0, "start") };
        let (name, bottom) = (escaped(name), HEIGHT - BOTTOM);
        let _ = write!(
            self.drawn,
            r#"<path class="mark" d="M{x:.1} {:.1}V{bottom}"/><text class="marked" x="{text:.1}" y="{top:.1}" text-anchor="{anchor}">{name}</text>"#,
            top - 8.0
        );
    }

    /// A limit on the vertical axis.
    pub(super) fn limit(&mut self, y: f64, name: &str) {
        let (y, right, name) = (self.down(y), WIDTH - RIGHT, escaped(name));
        let _ = write!(
            self.drawn,
            r#"<path class="limit" d="M{LEFT} {y:.1}H{right}"/><text class="marked" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#,
            right - 4.0,
            y - 4.0
        );
    }

    /// Words in the middle of a plot that has nothing to show.
    pub(super) fn say(&mut self, words: &str) {
        let (x, y, words) = (f64::midpoint(LEFT, WIDTH - RIGHT), f64::midpoint(TOP, HEIGHT - BOTTOM), escaped(words));
        let _ = write!(self.drawn, r#"<text class="marked" x="{x}" y="{y}" text-anchor="middle">{words}</text>"#);
    }

    /// What is shown while the pointer rests between two places of the horizontal axis.
    pub(super) fn tip(&mut self, from: f64, to: f64, text: &str) {
        let (left, right) = (self.across(from), self.across(to));
        let (width, height) = ((right - left).max(1.0), HEIGHT - BOTTOM - TOP);
        let text = escaped(text);
        let _ = write!(
            self.drawn,
            r#"<rect class="tip" x="{left:.1}" y="{TOP}" width="{width:.1}" height="{height}"><title>{text}</title></rect>"#
        );
    }

    /// The whole figure.
    pub(super) fn finish(self) -> String {
        let name = escaped(&self.name);
        let mut figure = format!("<figure><figcaption>{name}");
        for (key, colour) in self.keys.iter().filter(|_| self.keys.len() > 1) {
            let _ = write!(figure, r#"<span class="key {}">{}</span>"#, colour.class(), escaped(key));
        }
        let _ = write!(
            figure,
            r#"</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{}{}</svg></figure>"#,
            self.grid(),
            self.drawn
        );
        figure
    }

    fn grid(&self) -> String {
        let (mut grid, bottom, right) = (String::new(), HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, label) in &self.y.ticks {
            let (y, label) = (self.down(*value), escaped(label));
            let _ = write!(
                grid,
                r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                LEFT - 7.0,
                y + 4.0
            );
        }
        for (value, label) in &self.x.ticks {
            let (x, label) = (self.across(*value), escaped(label));
            let _ = write!(
                grid,
                r#"<path class="axis" d="M{x:.1} {bottom}v4"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                bottom + 18.0
            );
        }
        let _ = write!(grid, r#"<path class="axis" d="M{LEFT} {bottom}H{right}"/>"#);
        grid
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        TOP + (1.0 - self.y.place(value)) * (HEIGHT - TOP - BOTTOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::unit;

    fn plot() -> Plot {
        Plot::new("a < b", Axis::time(10.0), Axis::linear(10.0, unit::number))
    }

    #[test]
    fn a_line_is_interrupted_where_there_is_no_value() {
        let mut plot = plot();
        let values = [Some(1.0), Some(2.0), None, Some(3.0), None, Some(4.0), Some(5.0)];
        plot.line("it", Colour::First, values.into_iter().enumerate().map(|(x, y)| (x as f64, y)));
        assert_eq!(plot.drawn.matches('M').count(), 2, "{}", plot.drawn);
        assert_eq!(plot.drawn.matches("<circle").count(), 1, "a value alone is a dot: {}", plot.drawn);
    }

    #[test]
    fn nothing_is_drawn_outside() {
        let mut plot = plot();
        plot.bar(-5.0, 20.0, 1e9, Colour::Bad);
        assert!(plot.drawn.contains(&format!(r#"x="{LEFT:.1}" y="{TOP:.1}""#)), "{}", plot.drawn);
        let width = WIDTH - LEFT - RIGHT - 1.0;
        assert!(plot.drawn.contains(&format!(r#"width="{width:.1}""#)), "{}", plot.drawn);
    }

    #[test]
    fn every_text_is_escaped() {
        let mut plot = plot();
        plot.line("<i>", Colour::First, [(0.0, Some(1.0))]);
        plot.line("<i>", Colour::Second, [(0.0, Some(1.0))]);
        plot.mark(1.0, "<i>");
        plot.limit(1.0, "<i>");
        plot.tip(0.0, 1.0, "<i>");
        let figure = plot.finish();
        assert!(!figure.contains("<i>") && figure.matches("&lt;i&gt;").count() == 5, "{figure}");
        assert!(figure.contains("a &lt; b"));
    }
}
