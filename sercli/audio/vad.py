"""Streaming voice activity detection: one speech probability per 32 ms.

Silero VAD 6 (github.com/snakers4/silero-vad, MIT), reimplemented in numpy; the weights are next to this module. It is
fast because all layers but the LSTM process all frames of a call at once, the channels of a recording share one pass,
and silent frames are skipped.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from sercli.audio.preprocess import SILENCE, StreamResampler

SAMPLE_RATE = 16_000  # Hz
FRAME = 512  # samples, 32 ms
FRAME_SECONDS = FRAME / SAMPLE_RATE
CONTEXT = 64  # samples before a frame that the network also sees
PADDING = 64  # samples after a frame, reflected
STFT_SIZE, STFT_HOP = 256, 128  # samples
STATE = 128  # size of the LSTM state
HOP = 32 * FRAME  # samples processed at a time, about a second

VAD_LEVEL = 0.1  # RMS of the loudest half second after scaling
MAX_GAIN = 1e3
LEVEL_DECAY = 0.98  # decay of the level per hop, so that a bang does not mute the VAD for the rest of a call
DC_MEMORY = 0.05  # weight of a hop in the running mean used as the DC offset
SILENT_RMS = SILENCE / 4  # RMS of speech that peaks at SILENCE; above the rounding noise of 16 bits
NOISE_PERCENTILE, NOISE_MEMORY = 10, 512  # the noise level is this percentile of the power of this many frames (16 s)
MIN_NOISE_RATIO = 10 ** (5 / 20)  # RMS relative to the noise that a frame must reach to be examined
UNDER_SPEECH = 10 ** (-15 / 20)  # upper bound of that threshold, relative to VAD_LEVEL
VAD_FLOOR = 1e-3  # RMS after scaling below which there is no speech: 40 dB below VAD_LEVEL, as for trimming

Array = npt.NDArray[np.float32]


class VoiceActivity:
    """Detects voice in signals of any sample rate, offset and level: centers, resamples and scales for `VoiceDetector`.

    Args:
        opening: First seconds, from which offset and level are measured, shape ``(channels, n_samples)``.
        rate: Sample rate of the input (Hz).
    """

    def __init__(self, opening: Array, rate: int) -> None:
        self._resample = StreamResampler(rate, SAMPLE_RATE, len(opening))
        self._detector = VoiceDetector(len(opening))
        self._offset = opening.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        self._window = rate // 2
        self._level = np.zeros((len(opening), 1), np.float32)
        self._power = frame_power(opening - self._offset)[:, -NOISE_MEMORY:]
        self._follow_level(opening - self._offset)
        self._rest = np.zeros((len(opening), 0), np.float32)

    def center(self, part: Array) -> Array:
        """Removes the DC offset of the next block."""
        mean = part.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32) if part.shape[1] else 0
        self._offset = (1 - DC_MEMORY) * self._offset + DC_MEMORY * mean
        centered: Array = part - self._offset
        return centered

    def _follow_level(self, signals: Array) -> None:
        for start in range(0, signals.shape[1], self._window):
            power = np.square(signals[:, start : start + self._window]).mean(axis=1, keepdims=True)
            self._level = np.maximum(self._level, np.sqrt(power))

    def detect(self, signals: Array, *, last: bool) -> tuple[Array, Array]:
        """Returns speech probabilities and mean squares of the next frames, both in shape ``(channels, n_frames)``."""
        self._level *= LEVEL_DECAY
        self._follow_level(signals)
        gain = np.minimum(VAD_LEVEL / np.maximum(self._level, 1e-9), MAX_GAIN).astype(np.float32)
        resampled = self._resample(signals, last=last)
        buffered = np.concatenate([self._rest, resampled], axis=1)
        if last:
            buffered = np.pad(buffered, ((0, 0), (0, -buffered.shape[1] % FRAME)))
        power = frame_power(buffered)
        self._rest = buffered[:, power.shape[1] * FRAME :]
        self._power = np.concatenate([self._power, power], axis=1)[:, -NOISE_MEMORY:]
        floor = np.maximum(np.maximum(SILENT_RMS * gain, VAD_FLOOR), self._find_noise(gain))
        return self._detector.feed(resampled * gain, floor=floor, last=last), power

    def _find_noise(self, gain: Array) -> Array:
        """Estimates the RMS of the VAD's input below which there is only the noise between words."""
        if not self._power.shape[1]:
            return np.zeros_like(gain)
        noise = np.sqrt(np.percentile(self._power, NOISE_PERCENTILE, axis=1, keepdims=True)).astype(np.float32)
        limit: Array = np.minimum(noise * gain * MIN_NOISE_RATIO, VAD_LEVEL * UNDER_SPEECH)
        return limit


def frame_power(signals: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Computes the mean square of each frame of `FRAME` samples along the last axis, without a partial last frame."""
    count = signals.shape[-1] // FRAME
    frames = signals[..., : count * FRAME].reshape(*signals.shape[:-1], count, FRAME)
    power: npt.NDArray[np.float32] = np.mean(np.square(frames), axis=-1)
    return power


class VoiceDetector:
    """Computes speech probabilities of streamed signals; results do not depend on the block size.

    Args:
        channels: Number of signals processed in parallel.
    """

    def __init__(self, channels: int = 1) -> None:
        self._weights = _load_weights()
        self._hidden = np.zeros((channels, STATE), np.float32)
        self._cell = np.zeros((channels, STATE), np.float32)
        self._rest = np.zeros((channels, CONTEXT), np.float32)  # context, then samples of an incomplete frame

    def feed(self, signals: Array, *, floor: float | Array = 0.0, last: bool = False) -> Array:
        """Returns the probabilities of the frames that are now complete; with `last`, also of a partial one.

        Args:
            signals: Next samples, shape ``(channels, n_samples)``, at `SAMPLE_RATE`.
            floor: RMS amplitude that a frame must exceed, a number or of shape ``(channels, 1)``; other frames
                get probability 0 and leave the state unchanged.
            last: Whether these are the last samples.

        Returns:
            Probabilities, shape ``(channels, n_frames)``.
        """
        waiting = np.concatenate([self._rest, signals], axis=1)
        count, partial = divmod(waiting.shape[1] - CONTEXT, FRAME)
        if last and partial:
            waiting = np.pad(waiting, ((0, 0), (0, FRAME - partial)))
            count += 1
        self._rest = waiting[:, count * FRAME :].copy()
        if not count:
            return np.zeros((len(signals), 0), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(waiting, CONTEXT + FRAME, axis=1)[:, ::FRAME][:, :count]
        power = np.square(frames[:, :, CONTEXT:]).mean(axis=2)
        return self._run(frames, power > np.square(floor))

    def _run(self, frames: Array, active: npt.NDArray[np.bool_]) -> Array:
        """Computes the probabilities of active frames, shape ``(channels, n_frames, CONTEXT + FRAME)``."""
        inputs = np.zeros((*active.shape, 4 * STATE), np.float32)
        if active.any():
            inputs[active] = self._weights.encode(frames[active])
        states = np.zeros((*active.shape, STATE), np.float32)
        for step, count in enumerate(active.sum(axis=0).tolist()):
            if not count:
                continue
            hidden, cell = self._weights.step(inputs[:, step], self._hidden, self._cell)
            if count == len(active):
                self._hidden, self._cell = hidden, cell
            else:
                chosen = active[:, step]
                self._hidden[chosen], self._cell[chosen] = hidden[chosen], cell[chosen]
            states[:, step] = self._hidden
        probabilities: Array = np.where(active, self._weights.decode(states), np.float32(0))
        return probabilities


class _Weights:
    """The layers of the network as matrices."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        self._stft = np.ascontiguousarray(tensors["stft.weight"].T)
        # Kernels as matrices: the three steps under a kernel are concatenated.
        kernels = [tensors[f"encoder.{number}.weight"] for number in range(4)]
        self._kernels = [np.ascontiguousarray(kernel.transpose(2, 1, 0).reshape(-1, len(kernel))) for kernel in kernels]
        self._biases = [tensors[f"encoder.{number}.bias"] for number in range(4)]
        # Gates in the order input, forget, output, candidate. A sigmoid is a tanh of half its argument, so one tanh
        # computes all four.
        order = np.concatenate([np.arange(2 * STATE), np.arange(3 * STATE, 4 * STATE), np.arange(2 * STATE, 3 * STATE)])
        scale = np.repeat(np.array([0.5, 1.0], np.float32), [3 * STATE, STATE])[:, None]
        self._input = np.ascontiguousarray((tensors["lstm.weight_ih"][order] * scale).T)
        self._recurrent = np.ascontiguousarray((tensors["lstm.weight_hh"][order] * scale).T)
        self._bias = tensors["lstm.bias"][order] * scale[:, 0]
        self._output = np.ascontiguousarray(tensors["output.weight"])
        self._output_bias = tensors["output.bias"]

    def encode(self, frames: Array) -> Array:
        """Maps frames ``(n, CONTEXT + FRAME)`` to the input part of the LSTM gates, ``(n, 4 * STATE)``."""
        padded = np.concatenate([frames, frames[:, -2 : -2 - PADDING : -1]], axis=1)
        bins = self._stft.shape[1] // 2
        starts = range(0, padded.shape[1] - STFT_SIZE + 1, STFT_HOP)
        steps = np.empty((len(frames), len(starts), bins), np.float32)
        for number, start in enumerate(starts):
            parts = padded[:, start : start + STFT_SIZE] @ self._stft
            np.square(parts, out=parts)
            np.sqrt(parts[:, :bins] + parts[:, bins:], out=steps[:, number])
        for kernel, bias, stride in zip(self._kernels, self._biases, (1, 2, 2, 1), strict=True):
            steps = _convolve(steps, kernel, bias, stride)
        encoded: Array = steps[:, 0] @ self._input + self._bias
        return encoded

    def step(self, inputs: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
        """Computes one LSTM step; all arguments have shape ``(channels, ...)``."""
        gates = np.tanh(inputs + hidden @ self._recurrent)
        opened = gates[:, : 3 * STATE] * np.float32(0.5) + np.float32(0.5)
        cell = opened[:, STATE : 2 * STATE] * cell + opened[:, :STATE] * gates[:, 3 * STATE :]
        return opened[:, 2 * STATE :] * np.tanh(cell), cell

    def decode(self, states: Array) -> Array:
        """Maps states ``(..., STATE)`` to probabilities ``(...)``."""
        logits = np.maximum(states, 0) @ self._output + self._output_bias
        probabilities: Array = 1 / (1 + np.exp(-logits))
        return probabilities


def _convolve(steps: Array, kernel: Array, bias: Array, stride: int) -> Array:
    """Convolution over time of width 3 with zero padding, and ReLU; ``(n, n_steps, inputs)`` to ``(n, ., outputs)``."""
    length, size = steps.shape[1:]
    outputs = np.empty((len(steps), (length - 1) // stride + 1, len(bias)), np.float32)
    for number in range(outputs.shape[1]):
        first = number * stride - 1
        start, stop = max(0, first), min(length, first + 3)
        seen = steps[:, start:stop].reshape(len(steps), -1)  # a view, which is multiplied without being copied
        outputs[:, number] = seen @ kernel[(start - first) * size : (stop - first) * size]
    outputs += bias
    return np.maximum(outputs, 0, out=outputs)


@lru_cache(maxsize=1)
def _load_weights() -> _Weights:
    return _Weights(load_file(Path(__file__).with_name("silero_vad_16k.safetensors")))
