"""The work on one recording that needs no network: decoding, preprocessing, features."""

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from sercli.audio.decode import Signal, read_blocks
from sercli.audio.preprocess import preprocess_measured, to_mono
from sercli.config import AudioConfig
from sercli.errors import AudioError, SercliError
from sercli.features.frontend import FrontEnd
from sercli.files import one_line
from sercli.prediction.discovery import Recording

T = TypeVar("T")
Matrix = npt.NDArray[np.float32]

LONGEST_WINDOW = 6.0  # seconds of signal scored at once; longer than nearly all utterances of training


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What the network needs of a recording, and what the report says of it besides.

    Attributes:
        recording: which one.
        windows: features of each part of the signal, in shape ``(n_features, n_frames)``; none if it is silent.
        lengths: samples of each part.
        duration: of the recording, in seconds.
        speech: seconds of it that are sound.
        error: why it could not be used, in one line; empty if it could.
    """

    recording: Recording
    windows: tuple[Matrix, ...] = ()
    lengths: tuple[int, ...] = ()
    duration: float = 0.0
    speech: float = 0.0
    error: str = ""


def analyse(
    recording: Recording, audio: AudioConfig, front_end: FrontEnd, stop: threading.Event | None = None
) -> Analysis:
    """Decodes a recording and computes its features; what goes wrong is told in `Analysis.error`.

    Safe to call from several threads with one front end. Leaves torch with one thread in this thread.

    Args:
        recording: the sound file.
        audio: preprocessing.
        front_end: of the features.
        stop: when set, the work is given up at the next block or window.
    """
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)  # recordings are worked on side by side instead
    try:
        if recording.problem:
            raise AudioError(recording.problem)
        with np.errstate(all="ignore"):  # samples of 1e38 and their like are refused by their features
            return _analyse(recording, audio, front_end, stop or threading.Event())
    except (SercliError, OSError, MemoryError, ArithmeticError, ValueError, RuntimeError) as reason:
        # Whatever a decoder or a library says of one recording, the batch goes on.
        return Analysis(recording=recording, error=one_line(reason))


def cut_windows(signal: Signal, longest: int) -> list[Signal]:
    """Parts of equal length, to a sample, as few as keep each within `longest` samples; nothing is left out."""
    return np.array_split(signal, max(1, math.ceil(len(signal) / longest)))


def _analyse(recording: Recording, audio: AudioConfig, front_end: FrontEnd, stop: threading.Event) -> Analysis:
    mono, rate = _read_mono(recording, stop)
    signal, speech = preprocess_measured(mono, rate, audio)
    parts = cut_windows(signal, round(LONGEST_WINDOW * audio.sample_rate)) if len(signal) else []
    windows = tuple(front_end.extract(part) for part in _until(stop, parts))
    if not all(np.isfinite(window).all() for window in windows):
        msg = "holds samples too large to compute with: its level is far beyond full scale"
        raise AudioError(msg)
    return Analysis(
        recording=recording,
        windows=windows,
        lengths=tuple(len(part) for part in parts),
        duration=len(mono) / rate,
        speech=speech,
    )


def _read_mono(recording: Recording, stop: threading.Event) -> tuple[Signal, int]:
    """The mean of the channels; mixed block by block, so that all of them are never in memory."""
    blocks, rate = [], 0
    for block, rate in _until(stop, read_blocks(recording.path)):  # noqa: B007 - the rate is that of the whole file
        blocks.append(to_mono(block))
    return np.concatenate(blocks), rate


def _until(stop: threading.Event, items: Iterable[T]) -> Iterator[T]:
    for item in items:
        if stop.is_set():
            msg = "given up before it was done"
            raise AudioError(msg)
        yield item
