"""Warns about recordings unlike the training data, by simple rules."""

import numpy as np
import numpy.typing as npt

from sercli.audio.signal import Signal

LITTLE_SPEECH = 0.5  # seconds; hardly any training utterance has less
FULL_SCALE = 0.99  # amplitude at which a sample counts as clipped
MAX_CLIPPED = 0.001  # fraction of samples
MIN_LEVELS = 64  # quantization steps up to the peak; speech with fewer is mostly quantization noise
LOW_PEAK = -30.0  # dB full scale
MIN_SNR = 8.0  # dB; about the lowest in training
MIN_PAUSE = 10  # frames without speech needed to measure noise, a third of a second
MARGIN = 4  # frames next to speech that count as neither: onsets and reverberation
SPEECH, NO_SPEECH = 0.5, 0.1  # probabilities above and below which a frame is surely speech or not
NEARLY_AS_LOUD = 10.0  # dB below the speech level above which other sound competes with it
STEADY = 6.0  # dB between quiet and loud frames of a hum, hiss or tone; speech has 20 or more
TONE = 2.0  # the same for a tone, at whose onset the VAD may respond
MIN_STEADY = 16  # frames, half a second; the level of a shorter sound may be steady although it is a shout,
MIN_SHOUT = 3  # unless it has fewer frames than this, a tenth of a second
QUIET = -60.0  # dB full scale; mean level of the loudest frames of near silence
SURELY_NO_SPEECH = 0.2  # highest speech probability when the VAD is sure of no speech

Vector = npt.NDArray[np.float32]


class QualityMeter:
    """Measures the quality of one channel of a streamed recording."""

    def __init__(self) -> None:
        self._samples = self._clipped = 0
        self._peak, self._step = 0.0, np.inf
        self._power: list[Vector] = []
        self._probabilities: list[Vector] = []

    def count(self, signal: Signal) -> None:
        """Checks a signal as decoded for clipping and coarse quantization, shape ``(n_samples,)``."""
        size = np.abs(signal)
        self._samples += len(signal)
        self._clipped += int(np.count_nonzero(size >= FULL_SCALE))
        self._peak = max(self._peak, float(size.max(initial=0)))
        if self._peak < MIN_LEVELS / 128:  # 8-bit steps; louder signals have enough levels
            self._step = min(self._step, float(size[size > 0].min(initial=np.inf)))

    def listen(self, power: Vector, probabilities: Vector) -> None:
        """Adds the mean square and the speech probability of the next frames, both in shape ``(n_frames,)``."""
        self._power.append(power)
        self._probabilities.append(probabilities)

    @property
    def is_silent(self) -> bool:
        """Whether the VAD and the level agree that there is no speech.

        The VAD must rule out speech in every frame, and the level must be near silence or steady.
        """
        power = np.concatenate(self._power or [_NOTHING])
        if not power.any() or np.concatenate(self._probabilities or [_NOTHING]).max(initial=0) < SURELY_NO_SPEECH:
            return is_flat(power)
        return bool(np.count_nonzero(power) >= MIN_STEADY) and is_flat(power, steady=TONE, quiet=-np.inf)

    def judge(self, speech: float, *, has_speech: bool) -> tuple[str, ...]:
        """Returns how the recording differs from training data, as short phrases.

        Args:
            speech: Speech that was scored (s).
            has_speech: Whether the VAD found speech.
        """
        warnings = []
        if not has_speech:
            audible = np.count_nonzero(np.concatenate(self._power or [_NOTHING]))
            why = "it is too short to tell" if audible < MIN_STEADY else "the level varies like speech"
            warnings.append(f"no speech detected, scored because {why}")
        elif speech < LITTLE_SPEECH:
            warnings.append(f"only {speech:.2f} s of speech")
        if self._samples and self._clipped > MAX_CLIPPED * self._samples:
            warnings.append(f"clipped ({self._clipped / self._samples:.1%} of the samples at full scale or over)")
        if np.isfinite(self._step) and self._peak < self._step * MIN_LEVELS:
            level = 20 * np.log10(max(self._peak, 1e-9))
            fault = "very quiet" if level < LOW_PEAK else "coarsely quantized"  # 8 bits, for example
            warnings.append(
                f"{fault} (peak {level:.0f} dB full scale, {self._peak / self._step:.0f} quantization steps)"
            )
        return (*warnings, *self._judge_background())

    def _judge_background(self) -> tuple[str, ...]:
        power, voice = np.concatenate(self._power or [_NOTHING]), np.concatenate(self._probabilities or [_NOTHING])
        if not len(voice):
            return ()
        near = np.convolve(voice >= SPEECH, np.ones(2 * MARGIN + 1))[MARGIN:][: len(voice)] > 0
        background = power[(voice < NO_SPEECH) & ~near]
        speaking = power[voice >= SPEECH]
        if len(background) < MIN_PAUSE or not len(speaking) or not background.mean() > 0:
            return ()
        level = float(speaking.mean())
        loud = int(np.count_nonzero(background > level * 10 ** (-NEARLY_AS_LOUD / 10)))
        if loud > len(speaking):
            return ("more noise or music than speech",)
        ratio = 10 * float(np.log10(level / background.mean()))
        return (f"noisy (speech only {ratio:.0f} dB above the background)",) if ratio < MIN_SNR else ()


_NOTHING = np.zeros(0, np.float32)


def is_flat(power: Vector, *, steady: float = STEADY, quiet: float = QUIET) -> bool:
    """Whether frames contain near silence, or a steady sound that is long enough to tell.

    Args:
        power: Mean square of each frame, shape ``(n_frames,)``.
        steady: Largest difference between quiet and loud frames of a steady sound (dB).
        quiet: Highest level of the loudest frames of near silence (dB full scale).
    """
    audible = power[power > 0]
    if not len(audible):
        return True
    low, high = 10 * np.log10(np.percentile(audible, (10, 95)))
    may_be_shout = MIN_SHOUT <= len(audible) < MIN_STEADY
    return bool(high < quiet or (not may_be_shout and high - low < steady))
