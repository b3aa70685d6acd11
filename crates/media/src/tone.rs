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
        let sample = self.amplitude * self.phase.sin();
        self.phase = (self.phase + self.step) % TAU;
        Some(sample as i16)
    }
}

/// The share of a window's energy that lies at one frequency: 0 for none, near 1 for a pure tone.
pub fn share(samples: &[i16], sample_rate: u32, frequency: f32) -> f32 {
    let coefficient = 2.0 * (TAU * frequency / sample_rate as f32).cos();
    let (mut one, mut two, mut energy) = (0.0_f32, 0.0_f32, 0.0_f32);
    for sample in samples.iter().map(|sample| f32::from(*sample)) {
        (one, two) = (sample + coefficient * one - two, one);
        energy += sample * sample;
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = one * one + two * two - coefficient * one * two;
    2.0 * power / (energy * samples.len() as f32)
}

/// The frequency of a window that holds one clear tone between 200 and 3,400 Hz, to about 5 Hz; `None` for noise or silence.
pub fn frequency(samples: &[i16], sample_rate: u32) -> Option<f32> {
    const CLEAR: f32 = 0.6;
    (20_u16..=340)
        .map(|tens| f32::from(tens) * 10.0)
        .map(|frequency| (share(samples, sample_rate, frequency), frequency))
        .filter(|(share, _)| *share >= CLEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, frequency)| frequency)
}
