"""Scores one recording: decoding, segmentation, features, network, rows. Runs in the workers."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sercli.audio.envelope import EnvelopeMeter
from sercli.audio.segmentation import (
    WINDOWS,
    Segment,
    SegmentationConfig,
    Summary,
    read_segments,
    segment_blocks,
)
from sercli.errors import AudioError, SercliError
from sercli.features.frontend import extract_features
from sercli.files import one_line
from sercli.labels import UNCERTAIN
from sercli.metrics import Probabilities
from sercli.models.model import BATCH_FRAMES, Embeddings, Logits, Model, average_segments, load_model
from sercli.prediction.discovery import Recording
from sercli.prediction.rows import UNLIKE, Prediction, RecordingResult, SegmentPrediction
from sercli.prediction.settings import ScoringSettings
from sercli.progress import Heartbeat

MAX_WAITING = 2  # batches that may wait for the network
HEARTBEAT_INTERVAL = 1.0  # seconds between heartbeats while a file is only read


class RecordingScorer:
    """A loaded model that scores recordings one at a time.

    Args:
        settings: Scoring settings.

    Raises:
        ModelError: If the model folder is missing or damaged.
    """

    def __init__(self, settings: ScoringSettings) -> None:
        self.settings = settings
        model = load_model(settings.folder, settings.device)
        self.model = model.select(settings.emotions) if settings.emotions else model

    def warm_up(self) -> None:
        """Scores half a second of noise, so that installation problems show before the first recording."""
        noise = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
        blocks = [(noise[:, None], self.model.audio.sample_rate)]
        for event in segment_blocks(lambda: blocks, self.model.audio, replace(self.model.segmentation, method=WINDOWS)):
            if isinstance(event, Segment):
                self.model.logits([extract_features(event.signal, self.model.features)])

    def score_now(self, recording: Recording, *, channels: str | None = None) -> RecordingResult:
        """Like `score`, but returns only the result."""
        (result,) = (event for event in self.score(recording, channels=channels) if isinstance(event, RecordingResult))
        return result

    def score(self, recording: Recording, *, channels: str | None = None) -> Iterator[Heartbeat | RecordingResult]:
        """Scores a recording in bounded memory; errors become a row with the status ``failed``.

        Args:
            recording: Recording to score.
            channels: Overrides `ScoringSettings.channels`.

        Yields:
            Heartbeats, then the result.
        """
        envelope = EnvelopeMeter() if self.settings.envelope else None
        sha256 = ""
        try:
            if recording.problem:
                raise AudioError(recording.problem)
            # Feature extraction rejects samples such as 1e38. No thread outlives the recording, so that forking between
            # recordings is safe.
            thread = ThreadPoolExecutor(1) if self.settings.overlap else contextlib.nullcontext()
            with np.errstate(all="ignore"), thread as executor:
                sha256 = yield from _hash(recording.path)
                pending = _Pending(self.model, executor)
                for event in read_segments(
                    recording.path,
                    self.model.audio,
                    self._segmentation,
                    channels=channels or self.settings.channels,
                    listen=envelope.add if envelope else None,
                ):
                    if isinstance(event, Segment):
                        pending.add(event)
                    elif isinstance(event, Heartbeat):
                        yield event
                    else:
                        yield self._finish(recording.name, sha256, event, pending.finish(), envelope)
        except (SercliError, OSError, MemoryError) as error:
            yield RecordingResult.failed(recording.name, one_line(error) or type(error).__name__, sha256)
        except Exception as error:  # noqa: BLE001 - whatever a library raises for one recording, the batch goes on
            yield RecordingResult.failed(recording.name, f"{type(error).__name__}: {one_line(error)}", sha256)

    @property
    def _segmentation(self) -> SegmentationConfig:
        if not self.settings.window:
            return self.model.segmentation
        return replace(self.model.segmentation, method=WINDOWS, max_segment=self.settings.window, hop=self.settings.hop)

    def _finish(
        self,
        name: str,
        sha256: str,
        summary: Summary,
        scored: Sequence["_Scored"],
        envelope: EnvelopeMeter | None,
    ) -> RecordingResult:
        rows = []
        for channel in summary.channels:
            row = Prediction(
                file=name,
                channel=channel.name,
                status="no-speech",
                start=0.0,
                end=summary.duration,
                duration=summary.duration,
                speech=channel.speech,
                warnings=(*summary.warnings, *channel.warnings),
                envelope=envelope.draw(channel.name) if envelope else "",
            )
            own = [score for score in scored if score.segment.channel == channel.name]
            rows.append(self._answer(row, own) if own else row)
        return RecordingResult(sha256=sha256, duration=summary.duration, predictions=tuple(rows))

    def _answer(self, row: Prediction, scored: Sequence["_Scored"]) -> Prediction:
        logits = np.stack([score.logits for score in scored])
        speech = [score.segment.speech for score in scored]
        pooled = average_segments(logits, speech)
        emotion, confidence, probabilities = self._decide(self.model.probabilities(pooled))
        typicality, is_typical = None, True
        if self.model.typicality:
            distances = self.model.typicality.measure_distances(np.stack([score.embedding for score in scored]))
            typicality = self.model.typicality.measure(float(average_segments(distances, speech)))
            is_typical = typicality >= self.model.typicality.minimum
        segments = []
        for score, of_segment in zip(scored, self.model.probabilities(logits), strict=True):
            label, certainty, values = self._decide(of_segment)
            segments.append(
                SegmentPrediction(
                    start=score.segment.start,
                    end=score.segment.end,
                    speech=score.segment.speech,
                    emotion=label,
                    confidence=certainty,
                    probabilities=values,
                )
            )
        return replace(
            row,
            status="ok",
            typicality=typicality,
            warnings=row.warnings if is_typical else (*row.warnings, UNLIKE),
            emotion=emotion,
            confidence=confidence,
            probabilities=probabilities,
            segments=tuple(sorted(segments, key=lambda segment: segment.start)),
        )

    def _decide(self, probabilities: Probabilities) -> tuple[str, float, tuple[float, ...]]:
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        emotion = self.model.labels[best] if confidence >= self.settings.min_confidence else UNCERTAIN
        return emotion, confidence, tuple(probabilities.tolist())


@dataclass(frozen=True, slots=True)
class _Scored:
    segment: Segment  # without its signal
    logits: Logits
    embedding: Embeddings


@dataclass(slots=True)
class _Pending:
    """Segments collected until there are enough for an efficient batch."""

    model: Model
    executor: Executor | None
    _segments: list[Segment] = field(default_factory=list)
    _frames: int = 0
    _scored: list[Callable[[], list[_Scored]]] = field(default_factory=list)

    def add(self, segment: Segment) -> None:
        self._segments.append(segment)
        self._frames += len(segment.signal) // self.model.features.hop_length + 1
        if self._frames >= BATCH_FRAMES:
            self._run()

    def finish(self) -> list[_Scored]:
        if self._segments:
            self._run()
        return [score for results in self._scored for score in results()]

    def _run(self) -> None:
        segments, self._segments, self._frames = self._segments, [], 0
        if self.executor:
            for earlier in self._scored[-MAX_WAITING:][:1]:
                earlier()  # limits the number of waiting batches
            self._scored.append(self.executor.submit(_score_segments, self.model, segments).result)
        else:
            scored = _score_segments(self.model, segments)
            self._scored.append(lambda: scored)


def _score_segments(model: Model, segments: Sequence[Segment]) -> list[_Scored]:
    with np.errstate(all="ignore"):  # errstate does not carry over to threads
        logits, embeddings = model.run([extract_features(segment.signal, model.features) for segment in segments])
    return [
        _Scored(replace(segment, signal=segment.signal[:0].copy()), row, embedding)
        for segment, row, embedding in zip(segments, logits, embeddings, strict=True)
    ]


def _hash(path: Path) -> Generator[Heartbeat, None, str]:
    """Computes the SHA-256 of a file, with heartbeats if it is slow to read; empty if it is unreadable."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            last = time.monotonic()
            while block := stream.read(1 << 20):
                digest.update(block)
                if time.monotonic() - last > HEARTBEAT_INTERVAL:
                    last = time.monotonic()
                    yield Heartbeat(seconds=0.0)
        return digest.hexdigest()
    return ""
