//! Tones: made, and recognised by their frequency (Goertzel's algorithm).

use std::f32::consts::TAU;

/// An endless sine.
#[derive(Clone, Debug)]
pub struct Tone {
    step: f32,
    phase: f32,
    amplitude: f32,
}

impl Tone {
    /// Makes a tone of a frequency in hertz for a sampling rate, with an amplitude up to 32,767.
    pub fn new(frequency: f32, sample_rate: u32, amplitude: i16) -> Self {
        Self { step: TAU * frequency / sample_rate as f32, phase: 0.0, amplitude: f32::from(amplitude) }
    }
}

impl Iterator for Tone {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        #[expect(clippy::cast_possible_truncation, reason = "the product is no larger than the amplitude, an i16")]
        let sample = (self.amplitude * self.phase.sin()) as i16;
        self.phase = (self.phase + self.step) % TAU;
        Some(sample)
    }
}

/// The share of a window's energy that lies at one frequency: 0 for none, near 1 for a pure tone.
pub fn share(samples: &[i16], sample_rate: u32, frequency: f32) -> f32 {
    let coefficient = 2.0 * (TAU * frequency / sample_rate as f32).cos();
    let (mut last, mut last_but_one, mut energy) = (0.0_f32, 0.0_f32, 0.0_f32);
    for sample in samples.iter().map(|sample| f32::from(*sample)) {
        (last, last_but_one) = (sample + coefficient * last - last_but_one, last);
        energy += sample * sample;
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = last * last + last_but_one * last_but_one - coefficient * last * last_but_one;
    2.0 * power / (energy * samples.len() as f32)
}

/// The frequency of a window that holds one clear tone between 200 and 3,400 Hz, to about 5 Hz; `None` for noise or
/// silence. The window should last 20 to 100 ms: a shorter one is blurred, a longer one too sharp for the search.
pub fn frequency(samples: &[i16], sample_rate: u32) -> Option<f32> {
    const CLEAR: f32 = 0.6;
    (40_u16..=680)
        .map(|fives| f32::from(fives) * 5.0)
        .map(|frequency| (share(samples, sample_rate, frequency), frequency))
        .filter(|(share, _)| *share >= CLEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, frequency)| frequency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711::{decode_ulaw, encode_ulaw};

    const RATE: u32 = 8000;

    fn through_g711(tone: Tone, samples: usize) -> Vec<i16> {
        tone.take(samples).map(|sample| decode_ulaw(encode_ulaw(sample))).collect()
    }

    #[test]
    fn a_tone_is_recognised_after_g711() {
        for frequency in [303.0, 440.0, 697.0, 1000.0, 1477.0, 3000.0] {
            for samples in [160, 400, 800] {
                let window = through_g711(Tone::new(frequency, RATE, 8000), samples);
                let found = self::frequency(&window, RATE).expect("a clear tone");
                assert!((found - frequency).abs() <= 10.0, "{frequency} Hz as {found} Hz in {samples} samples");
                assert!(share(&window, RATE, frequency) > 0.9);
                assert!(share(&window, RATE, frequency + 500.0) < 0.1);
            }
        }
    }

    #[test]
    fn silence_noise_and_chords_are_no_tone() {
        assert_eq!(frequency(&[], RATE), None);
        assert_eq!(frequency(&[0; 400], RATE), None);
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [high, low, ..] = state.to_be_bytes();
            i16::from_be_bytes([high, low])
        };
        assert_eq!(frequency(&std::array::from_fn::<_, 400, _>(|_| noise()), RATE), None);
        let chord = Tone::new(440.0, RATE, 8000).zip(Tone::new(1000.0, RATE, 8000)).map(|(a, b)| a + b);
        assert_eq!(frequency(&chord.take(400).collect::<Vec<_>>(), RATE), None);
    }
}
