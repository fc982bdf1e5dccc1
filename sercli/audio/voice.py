"""Where speech is: probabilities from Silero VAD, frame after frame, as a recording streams by."""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sercli.audio.signal import Signal
from sercli.errors import SercliError

VOICE_RATE = 16_000  # Hz, of the signal that the network listens to
FRAME = 512  # samples of a frame, 32 ms
FRAME_SECONDS = FRAME / VOICE_RATE
CONTEXT = 64  # samples before a frame that the network sees too
STATE = (1, 1, 128)  # shape of each of its two states
BATCH = 128  # frames that go through it at once; more gain nothing

Probabilities = npt.NDArray[np.float32]


class VoiceDetector:
    """Silero VAD 6 in its form for sequences of frames (github.com/snakers4/silero-vad, MIT), by onnxruntime.

    Probabilities are the same however the signal is cut into calls of `feed`.
    """

    def __init__(self) -> None:
        self._session = _load()
        self._hidden = np.zeros(STATE, np.float32)
        self._cell = np.zeros(STATE, np.float32)
        self._context = np.zeros(CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)

    def feed(self, signal: Signal, *, last: bool = False) -> Probabilities:
        """Probabilities of speech in the frames that are whole now; with `last`, in a partial one too.

        Args:
            signal: what comes next, in shape ``(n_samples,)``, at `VOICE_RATE`.
            last: whether nothing will follow.

        Returns:
            one number of 0 to 1 for each `FRAME` samples.
        """
        waiting = np.concatenate([self._rest, signal])
        if last and len(waiting) % FRAME:
            waiting = np.pad(waiting, (0, -len(waiting) % FRAME))
        count = len(waiting) // FRAME
        self._rest = waiting[count * FRAME :]
        frames = waiting[: count * FRAME].reshape(count, FRAME)
        found = [self._run(frames[start : start + BATCH]) for start in range(0, count, BATCH)]
        return np.concatenate([np.zeros(0, np.float32), *found])

    def _run(self, frames: Signal) -> Probabilities:
        contexts = np.concatenate([self._context[None], frames[:-1, -CONTEXT:]])
        self._context = frames[-1, -CONTEXT:].copy()
        inputs = {"input": np.hstack([contexts, frames]), "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self._session.run(["speech_probs", "hn", "cn"], inputs)
        flat: Probabilities = probabilities.reshape(-1)
        return flat


@lru_cache(maxsize=1)
def _load() -> Any:
    import onnxruntime  # slow to import, and not wanted where there is no detection

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # recordings are worked on side by side
    options.enable_cpu_mem_arena = False  # it would keep what it once had
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(_find_network()), options, providers=["CPUExecutionProvider"])


def _find_network() -> Path:
    # The package is looked up and not imported, since that would set torch to one thread for the whole process.
    found = importlib.util.find_spec("silero_vad")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "data" / "silero_vad_16k_sequence.onnx"
        if path.is_file():
            return path
    msg = "voice activity detection needs the package silero-vad, version 6.2.3 or newer: pip install -U silero-vad"
    raise SercliError(msg)
