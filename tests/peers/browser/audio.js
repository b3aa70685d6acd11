// A tone as a microphone, and an ear on the tone that arrives.

const FRAME = 16384; // samples per measurement: 340 ms at 48 kHz, 2.9 Hz per bin
const STEADY = 5; // measurements in a row that must agree

let context;
let analyser;
let element;

function audio() {
    return (context ??= new AudioContext({ sampleRate: 48000 }));
}

export function toneOf(frequency) {
    const oscillator = audio().createOscillator();
    const gain = audio().createGain();
    const microphone = audio().createMediaStreamDestination();
    oscillator.frequency.value = frequency;
    gain.gain.value = 0.3;
    oscillator.connect(gain).connect(microphone);
    oscillator.start();
    return microphone.stream;
}

export function listenTo(track) {
    const stream = new MediaStream([track]);
    // Chromium lets a remote track flow into WebAudio only while an element plays it.
    element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    element.play().catch(() => {});
    analyser = audio().createAnalyser();
    analyser.fftSize = FRAME;
    analyser.smoothingTimeConstant = 0;
    audio().createMediaStreamSource(stream).connect(analyser);
}

// Waits until a tone of `frequency` has been heard clearly for a while; fails with what was heard instead.
export async function hear(frequency) {
    let heard;
    for (let attempt = 0, steady = 0; attempt < 100; attempt++) {
        await new Promise(resolve => setTimeout(resolve, 200));
        heard = analyser && measure();
        const clear = heard && Math.abs(heard.frequency - frequency) <= 10 && heard.purity > 0.5;
        steady = clear ? steady + 1 : 0;
        if (steady === STEADY) {
            return heard;
        }
    }
    throw new Error(`no tone of ${frequency} Hz; heard ${JSON.stringify(heard)}`);
}

// The loudest frequency now, and the share of the whole power that lies there.
function measure() {
    const decibels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(decibels);
    const power = decibels.map(value => 10 ** (value / 10));
    const peak = power.indexOf(power.reduce((most, value) => Math.max(most, value)));
    const near = power.slice(Math.max(0, peak - 6), peak + 7);
    const sum = values => values.reduce((total, value) => total + value, 0);
    return { frequency: (peak * audio().sampleRate) / FRAME, purity: sum(near) / sum(power) };
}
