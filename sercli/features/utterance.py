"""Extracts features of one utterance and its augmented copies; runs in the workers, without torch."""

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from threadpoolctl import ThreadpoolController

from sercli.audio.augment import Augmentation, augment, name_copy
from sercli.audio.decode import read_signal
from sercli.audio.degradation import degrade
from sercli.audio.preprocess import normalize_level
from sercli.audio.segmentation import Segment, read_segments, segment_blocks
from sercli.audio.stereo import find_route
from sercli.config import MIX
from sercli.errors import AudioError, SercliError
from sercli.features.frontend import FeatureConfig, HalfMatrix, compute_features, extract_features
from sercli.features.parameters import StoreParameters
from sercli.files import hash_file, one_line

SPILL = 8 << 20  # bytes of a copy's features kept in memory; more are written to a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An utterance that could not be used, with the reason in one line."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An utterance or an augmented copy, and the features to compute.

    Attributes:
        augmentation: Augmentation; None for the utterance itself.
        names: Features to compute, at least one.
    """

    augmentation: Augmentation | None
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of an augmented copy; empty for the utterance itself."""
        return "" if self.augmentation is None else name_copy(self.augmentation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Features to compute for one recording.

    Attributes:
        path: Path of the recording.
        file: Name of the recording in the index.
        sha256: Expected hash of the recording.
        copies: The utterance and its augmented copies.
        folder: Folder for features of long recordings; None keeps them in memory.
        prefix: Prefix of the names of files in `folder`.
    """

    path: Path
    file: str
    sha256: str
    copies: tuple[Copy, ...]
    folder: Path | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """Position of a segment in its recording, and its number of frames.

    Attributes:
        start: Start (s).
        end: End (s).
        speech: Speech in the segment (s).
        n_frames: Number of feature frames.
    """

    start: float
    end: float
    speech: float
    n_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """Features of an utterance or of an augmented copy.

    Attributes:
        copy: Requested copy and features.
        segments: Segments of the copy, in order.
        data: For each segment and feature, the matrix ``(n_frames, rows)`` in half precision, as bytes; or a file with
            them, which the reader removes.
    """

    copy: Copy
    segments: tuple[SegmentSpan, ...]
    data: bytes | Path

    def open(self) -> BinaryIO:
        """Opens `data` for reading."""
        return io.BytesIO(self.data) if isinstance(self.data, bytes) else self.data.open("rb")

    def discard(self) -> None:
        """Removes the file, if `data` is one."""
        if isinstance(self.data, Path):
            self.data.unlink(missing_ok=True)


Outcome = tuple[Extracted, ...] | Failure


def extract_utterance(task: Task, parameters: StoreParameters) -> Outcome:
    """Decodes a recording once and computes the missing features of all its copies.

    Uses bounded memory if the task has a folder.
    """
    try:
        with _find_thread_pools().limit(limits=1):  # results must not depend on the number of CPUs
            return _extract(task, parameters)
    except (SercliError, OSError) as reason:
        return Failure(file=task.file, reason=one_line(reason))
    except MemoryError:
        return Failure(file=task.file, reason="too long for the available memory: split it into utterances")


@lru_cache(maxsize=1)
def _find_thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def _extract(task: Task, parameters: StoreParameters) -> tuple[Extracted, ...]:
    _require_unchanged(task.path, task.sha256)
    with contextlib.ExitStack() as stack:
        collectors = [stack.enter_context(_Collector(copy, task, parameters)) for copy in task.copies]
        for part in read_segments(task.path, parameters.audio, parameters.segmentation, skip_vad=True):
            if isinstance(part, Segment):
                for collector in collectors:
                    collector.add(part)
        results = tuple(collector.finish() for collector in collectors)
        if not all(extracted.segments for extracted in results):
            msg = "is silent: expected sound above -80 dB full scale that could be speech"
            raise AudioError(msg)
        stack.pop_all()
        return results


def extract_degraded(
    path: Path, sha256: str, degradation: str, parameters: StoreParameters
) -> list[tuple[HalfMatrix, float]]:
    """Extracts the features and seconds of speech of each segment of a degraded recording.

    Args:
        path: Recording.
        sha256: Hash of the recording when it was indexed.
        degradation: Degradation, one of `sercli.audio.degradation.DEGRADATIONS`.
        parameters: Preprocessing, segmentation and features.

    Raises:
        AudioError: If the recording cannot be decoded, has changed, or is silent after the degradation.
    """
    _require_unchanged(path, sha256)
    sides, rate = read_signal(path)
    mixed = find_route(lambda: [(sides, rate)], MIX, sides.shape[1]).apply(sides)[0]
    signal, rate = degrade(mixed, rate, degradation)
    segments = [
        (extract_features(segment.signal, parameters.features), segment.speech)
        for segment in segment_blocks(lambda: [(signal[:, None], rate)], parameters.audio, parameters.segmentation)
        if isinstance(segment, Segment)
    ]
    if not segments:
        msg = f"has no speech after the degradation {degradation}"
        raise AudioError(msg)
    return segments


def _require_unchanged(path: Path, sha256: str) -> None:
    if path.is_file() and hash_file(path) != sha256:
        msg = "has changed since it was indexed: run 'sercli prepare --force' again"
        raise AudioError(msg)


class _Collector:
    """Collects the features of one copy; a context manager that removes its file."""

    def __init__(self, copy: Copy, task: Task, parameters: StoreParameters) -> None:
        self._copy, self._task, self._audio = copy, task, parameters.audio
        self._config: FeatureConfig = parameters.features.select(copy.names)
        self._segments: list[SegmentSpan] = []
        self._stream: BinaryIO = io.BytesIO()
        self._path: Path | None = None

    def __enter__(self) -> "_Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        if self._path:
            self._path.unlink(missing_ok=True)

    def add(self, segment: Segment) -> None:
        signal = segment.signal
        if self._copy.augmentation is not None:
            signal = augment(signal, self._audio.sample_rate, self._copy.augmentation)
            signal = normalize_level(signal, self._audio.level_db)
        features = list(compute_features(signal, self._config).values())
        self._segments.append(SegmentSpan(segment.start, segment.end, segment.speech, len(features[0])))
        for matrix in features:
            self._stream.write(np.ascontiguousarray(matrix, np.float16).data)
        if self._path is None and self._task.folder and self._stream.tell() > SPILL:
            self._spill(self._task.folder)

    def _spill(self, folder: Path) -> None:
        number, name = tempfile.mkstemp(prefix=self._task.prefix, suffix=".tmp", dir=folder)
        self._path = Path(name)
        stream: BinaryIO = os.fdopen(number, "wb")
        stream.write(self._stream.getbuffer())  # type: ignore[attr-defined]
        self._stream = stream

    def finish(self) -> Extracted:
        data = self._path or self._stream.getvalue()  # type: ignore[attr-defined]
        self._stream.close()
        return Extracted(copy=self._copy, segments=tuple(self._segments), data=data)
