"""From pieces to rows: the network on batches of like length, and the sums that a recording's answer comes from."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from sercli.audio.segments import Segment
from sercli.errors import ModelError
from sercli.labels import EMOTIONS
from sercli.models.folder import Model
from sercli.models.normalizer import Normalizer
from sercli.parallel import single_thread
from sercli.prediction.analysis import Analysis, Piece
from sercli.prediction.rows import UNCERTAIN, Prediction, SegmentPrediction

Logits = npt.NDArray[np.float64]

BATCH_FRAMES = 1 << 12  # frames, padding included, that the network sees at once; some sixty-five seconds
LONGEST_WAIT = 1.0  # seconds that pieces may wait for more, so that rows of slow recordings come, too

FindNormalizer = Callable[[str, str], Normalizer]
"""The normalizer of a recording's channel, by the recording's name and the channel's."""


@dataclass(slots=True)
class _Open:
    """A recording that is being worked on."""

    name: str
    segments: dict[str, list[tuple[Segment, Logits]]] = field(default_factory=dict)
    waiting: int = 0  # pieces that the network has not seen
    analysis: Analysis | None = None


class Scorer:
    """Gathers pieces of many recordings, and gives out a recording's rows when all its pieces are scored.

    Args:
        model: on its device.
        device: of the model.
        find_normalizer: of each channel.
        min_confidence: under which an emotion is `UNCERTAIN`.
    """

    def __init__(
        self, model: Model, device: torch.device, find_normalizer: FindNormalizer, *, min_confidence: float = 0.0
    ) -> None:
        self._model, self._device = model, device
        self._find_normalizer = find_normalizer
        self._min_confidence = min_confidence
        self._open: dict[int, _Open] = {}
        self._pieces: list[tuple[int, Piece]] = []
        self._frames = 0
        self._since = time.monotonic()

    def add(self, task: int, name: str, found: Piece | Analysis) -> None:
        """Takes what was found in a recording.

        Args:
            task: position of the recording.
            name: of the recording, as the report calls it.
            found: a piece, or what there is to say at the end.
        """
        recording = self._open.setdefault(task, _Open(name))
        if isinstance(found, Analysis):
            recording.analysis = found
            return
        if not self._pieces:
            self._since = time.monotonic()
        recording.waiting += 1
        self._pieces.append((task, found))
        self._frames += found.features.shape[1]

    @property
    def is_due(self) -> bool:
        """Whether enough is gathered for a batch, or has waited long enough."""
        return self._frames >= BATCH_FRAMES or time.monotonic() - self._since > LONGEST_WAIT

    def score(self) -> Iterator[tuple[int, Analysis, tuple[Prediction, ...]]]:
        """Scores all pieces that are gathered, and gives out the recordings that are then done.

        Raises:
            ModelError: if the model gives values that are not finite.
        """
        pieces, self._pieces, self._frames = self._pieces, [], 0
        with single_thread():
            logits = self._run([piece for _, piece in pieces], [self._open[task].name for task, _ in pieces])
        for (task, piece), found in zip(pieces, logits, strict=True):
            self._open[task].segments.setdefault(piece.channel, []).append((piece.segment, found))
            self._open[task].waiting -= 1
        self._since = time.monotonic()
        for task in [number for number, each in self._open.items() if each.analysis and not each.waiting]:
            recording = self._open.pop(task)
            assert recording.analysis is not None  # noqa: S101 - asked for above
            yield task, recording.analysis, self._make_rows(recording, recording.analysis)

    def _run(self, pieces: Sequence[Piece], names: Sequence[str]) -> Logits:
        """Calibrated logits of each piece, in shape ``(len(pieces), 8)``."""
        logits = np.empty((len(pieces), len(EMOTIONS)))
        for batch in _batch([piece.features.shape[1] for piece in pieces]):
            frames = [torch.from_numpy(pieces[number].features).to(self._device) for number in batch]
            normalizers = [self._find_normalizer(names[number], pieces[number].channel) for number in batch]
            logits[batch] = self._model.logits(frames, normalizers).cpu().numpy()
        if not np.isfinite(logits).all():
            msg = "the model gives values that are not finite: train it anew"
            raise ModelError(msg)
        return logits

    def _make_rows(self, recording: _Open, analysis: Analysis) -> tuple[Prediction, ...]:
        if analysis.error:
            return (Prediction(file=recording.name, status="failed", error=analysis.error),)
        rows = []
        for channel in analysis.channels:
            scored = recording.segments.get(channel.name, [])
            row = Prediction(
                file=recording.name,
                channel=channel.name,
                status="no-speech",
                start=0.0,
                end=analysis.duration,
                duration=analysis.duration,
                speech=channel.speech,
            )
            rows.append(self._answer(row, scored, channel.warnings) if scored else row)
        return tuple(rows)

    def _answer(
        self, row: Prediction, scored: Sequence[tuple[Segment, Logits]], warnings: tuple[str, ...]
    ) -> Prediction:
        weights = [max(segment.speech, 1e-3) for segment, _ in scored]
        probabilities = _softmax(np.average([found for _, found in scored], axis=0, weights=weights))
        emotion, confidence = self._decide(probabilities)
        segments = []
        for segment, found in sorted(scored, key=lambda pair: pair[0].start):
            each = _softmax(found)
            label, certainty = self._decide(each)
            segments.append(
                SegmentPrediction(
                    start=segment.start,
                    end=segment.end,
                    speech=segment.speech,
                    emotion=label,
                    confidence=certainty,
                    probabilities=tuple(each.tolist()),
                )
            )
        return replace(
            row,
            status="ok",
            emotion=emotion,
            confidence=confidence,
            probabilities=tuple(probabilities.tolist()),
            warnings=warnings,
            segments=tuple(segments),
        )

    def _decide(self, probabilities: Logits) -> tuple[str, float]:
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        return (EMOTIONS[best] if confidence >= self._min_confidence else UNCERTAIN), confidence


def _batch(n_frames: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of pieces of like length, so that little is padding, in batches of bounded size."""
    batch: list[int] = []
    for number in sorted(range(len(n_frames)), key=lambda number: n_frames[number]):
        if batch and (len(batch) + 1) * n_frames[number] > BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _softmax(logits: Logits) -> Logits:
    powers = np.exp(logits - logits.max())
    probabilities: Logits = powers / powers.sum()
    return probabilities
