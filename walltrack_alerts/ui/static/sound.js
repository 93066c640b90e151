// The sound of the alarm.

/** @type {[frequency: number, delay: number][]} Hz and s */
const TONES = [
  [880, 0],
  [660, 0.18],
  [880, 0.36],
];
const RESUME_MS = 500; // how long a browser may take to allow sound

export function createSound() {
  /** @type {AudioContext | null} */
  let context = null;

  function open() {
    context ??= window.AudioContext ? new AudioContext() : null;
    return context;
  }

  /** Whether the browser allows no sound before a click; only known once the sound was opened. */
  const isAsleep = () => context?.state === 'suspended';

  const resume = async () => context?.resume();

  async function play() {
    const audio = open();
    if (!audio) return;
    if (isAsleep()) {
      const timeout = new Promise((go) => {
        setTimeout(go, RESUME_MS);
      });
      await Promise.race([resume(), timeout]);
    }
    if (audio.state !== 'running') return; // it would ring late, at the next click
    for (const [frequency, delay] of TONES) playTone(audio, frequency, audio.currentTime + delay);
  }

  return { close: () => context?.close(), isAsleep, open, play, resume };
}

/**
 * @param {AudioContext} audio
 * @param {number} frequency Hz
 * @param {number} begin by the clock of the audio context, s
 */
function playTone(audio, frequency, begin) {
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = frequency;
  volume.gain.setValueAtTime(0.0001, begin);
  volume.gain.exponentialRampToValueAtTime(0.25, begin + 0.02);
  volume.gain.exponentialRampToValueAtTime(0.0001, begin + 0.17);
  tone.connect(volume).connect(audio.destination);
  tone.start(begin);
  tone.stop(begin + 0.18);
}
