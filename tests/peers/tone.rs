//! Sine tones: writing them for a peer to play, and finding them in what a peer heard.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

/// The loudest frequency in a piece of sound, and how much of the sound it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tone {
    /// In hertz, to a resolution of 5.
    pub(crate) frequency: u32,
    /// Share of the whole power that lies at the frequency, from 0 to 1.
    pub(crate) purity: f64,
}

impl Tone {
    /// Whether this is the pure tone of `frequency` that one side played, give or take 10 Hz.
    pub(crate) fn is(self, frequency: u32) -> bool {
        self.frequency.abs_diff(frequency) <= 10 && self.purity > 0.5
    }
}

/// Writes `seconds` of a tone as a WAV file of 16-bit samples, one channel.
pub(crate) fn write_wav(path: &Path, frequency: u32, rate: u32, seconds: u32) {
    let samples = (0..rate * seconds).map(|n| (TAU * f64::from(frequency) * f64::from(n) / f64::from(rate)).sin());
    #[expect(clippy::cast_possible_truncation, reason = "a sine times 12,000 fits 16 bits")]
    let data: Vec<u8> = samples.flat_map(|sample| ((sample * 12_000.0) as i16).to_le_bytes()).collect();
    let size = u32::try_from(data.len()).expect("a few seconds are far below 4 GB");
    let mut wav = Vec::new();
    for part in [&b"RIFF"[..], &(36 + size).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()] {
        wav.extend_from_slice(part);
    }
    for part in [&[1, 0, 1, 0][..], &rate.to_le_bytes(), &(2 * rate).to_le_bytes(), &[2, 0, 16, 0]] {
        wav.extend_from_slice(part);
    }
    for part in [&b"data"[..], &size.to_le_bytes(), &data] {
        wav.extend_from_slice(part);
    }
    fs::write(path, wav).expect("the peer's directory can be written to");
}

/// Finds the tone in the last quarter of a second of sound of a WAV file of 16-bit samples; the silence after a call is
/// not sound.
pub(crate) fn heard_in_wav(path: &Path) -> Option<Tone> {
    let wav = fs::read(path).ok()?;
    let header = wav.first_chunk::<44>()?;
    let channels = usize::from(u16::from_le_bytes([header[22], header[23]]));
    let rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    let samples: Vec<f64> = wav[header.len()..]
        .chunks_exact(2 * channels)
        .map(|frame| f64::from(i16::from_le_bytes([frame[0], frame[1]])))
        .collect();
    let end = samples.iter().rposition(|sample| sample.abs() > 300.0)?;
    let start = end.checked_sub(usize::try_from(rate / 4).ok()?)?;
    Some(loudest(&samples[start..end], rate))
}

/// Measures the power at each multiple of 5 Hz in the range of a voice (a Goertzel filter per frequency).
fn loudest(samples: &[f64], rate: u32) -> Tone {
    let whole: f64 = samples.iter().map(|sample| sample * sample).sum();
    let power = |frequency: u32| {
        let step = 2.0 * (TAU * f64::from(frequency) / f64::from(rate)).cos();
        let (mut last, mut before) = (0.0, 0.0);
        for sample in samples {
            (last, before) = (sample + step * last - before, last);
        }
        last * last + before * before - step * last * before
    };
    let (frequency, most) = (100..=3_000)
        .step_by(5)
        .map(|frequency| (frequency, power(frequency)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("the range is not empty");
    // A pure tone of N samples has the whole power N·a²/2 and the power (N·a/2)² at its frequency.
    let count = u32::try_from(samples.len()).expect("a quarter of a second");
    Tone { frequency, purity: most / (whole * f64::from(count) / 2.0) }
}

#[test]
fn a_written_tone_is_found_again() {
    let dir = crate::temp_dir::TempDir::new("tone");
    let path = dir.path().join("tone.wav");
    write_wav(&path, 440, 8_000, 2);
    let tone = heard_in_wav(&path).expect("two seconds of sound");
    assert!(tone.is(440) && tone.purity > 0.99, "{tone:?}");
    assert!(!tone.is(880), "{tone:?}");
}
