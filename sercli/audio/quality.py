"""What in a recording is unlike what models are trained on, by rules that can be stated in a line each."""

from dataclasses import dataclass, field

import numpy as np

from sercli.audio.signal import Signal
from sercli.audio.voice import FRAME, Probabilities

LEAST_SPEECH = 0.5  # seconds; hardly an utterance of training is shorter
FULL_SCALE = 0.99  # amplitude from which on a sample counts as clipped
MOST_CLIPPED = 0.001  # share of the samples
LEAST_SNR = 8.0  # dB; training goes down to about as much
LEAST_PAUSE = 10  # frames without speech by which noise can be measured, a third of a second
MARGIN = 4  # frames next to speech that belong to neither: onsets and reverberation
SPEECH, NO_SPEECH = 0.5, 0.1  # probabilities over, and under, which a frame is surely one or the other
NEARLY_AS_LOUD = 10.0  # dB under the speech, from which on other sound competes with it


@dataclass(slots=True, kw_only=True)
class QualityMeter:
    """Watches one channel of a recording as it streams by.

    Attributes:
        samples: seen so far, before resampling.
        clipped: of them, those at full scale.
    """

    samples: int = 0
    clipped: int = 0
    _power: list[Signal] = field(default_factory=list)
    _voice: list[Probabilities] = field(default_factory=list)
    _rest: Signal = field(default_factory=lambda: np.zeros(0, np.float32))

    def count(self, signal: Signal) -> None:
        """Looks for clipping in a signal as it was decoded, in shape ``(n_samples,)``."""
        self.samples += len(signal)
        self.clipped += int(np.count_nonzero(np.abs(signal) >= FULL_SCALE))

    def listen(self, signal: Signal, voice: Probabilities) -> None:
        """Notes how loud each frame is, and how probably speech.

        Args:
            signal: what came next, in shape ``(n_samples,)``, as the detector was fed it.
            voice: what the detector then gave.
        """
        waiting = np.concatenate([self._rest, signal])
        count = len(waiting) // FRAME
        self._rest = waiting[count * FRAME :]
        frames = waiting[: count * FRAME].reshape(count, FRAME)
        self._power.append(np.mean(np.square(frames), axis=1))
        self._voice.append(voice)

    def judge(self, speech: float) -> tuple[str, ...]:
        """What is unlike training, in a few words each.

        Args:
            speech: seconds of speech that were scored.
        """
        found = []
        if speech < LEAST_SPEECH:
            found.append(f"only {speech:.2f} s of speech")
        if self.samples and self.clipped > MOST_CLIPPED * self.samples:
            found.append(f"clipped ({self.clipped / self.samples:.1%} of the samples at full scale or over)")
        return (*found, *self._judge_background())

    def _judge_background(self) -> tuple[str, ...]:
        power = np.concatenate([np.zeros(0, np.float32), *self._power])
        voice = np.concatenate([np.zeros(0, np.float32), *self._voice])[: len(power)]
        power = power[: len(voice)]
        if not len(voice):
            return ()
        near = np.convolve(voice >= SPEECH, np.ones(2 * MARGIN + 1))[MARGIN:][: len(voice)] > 0
        background = power[(voice < NO_SPEECH) & ~near]
        speaking = power[voice >= SPEECH]
        if len(background) < LEAST_PAUSE or not len(speaking) or not background.mean() > 0:
            return ()
        level = float(speaking.mean())
        loud = int(np.count_nonzero(background > level * 10 ** (-NEARLY_AS_LOUD / 10)))
        if loud > len(speaking):
            return ("more noise or music than speech",)
        ratio = 10 * float(np.log10(level / background.mean()))
        return (f"noisy (speech {ratio:.0f} dB over what is between it)",) if ratio < LEAST_SNR else ()
