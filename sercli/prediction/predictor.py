"""Python interface for prediction: one recording in this process, or many in workers."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from sercli.config import MIX, SPLIT, check_names
from sercli.cpus import count_cpus
from sercli.errors import UsageError
from sercli.labels import select_labels
from sercli.models.folder import read_description
from sercli.prediction.discovery import Recording
from sercli.prediction.pool import Message, WorkerPool
from sercli.prediction.rows import Prediction, RecordingResult
from sercli.prediction.settings import ScoringOptions, ScoringSettings
from sercli.progress import Heartbeat

if TYPE_CHECKING:
    from sercli.prediction.scoring import RecordingScorer

OnScored = Callable[[int, float], None]
"""Called with the number of recordings done and their seconds of audio."""


class Predictor:
    """A trained model that scores recordings.

    Example::

        prediction = Predictor().predict("call.wav")
        print(prediction.emotion, prediction.confidence)
        for segment in prediction.segments:
            print(segment.start, segment.end, segment.emotion)

    Args:
        model: Model folder; None for the model included in the package.
        envelope: Whether to compute the peak envelope of each row.
        **options: Other options of scoring, as `ScoringOptions`.

    Raises:
        ModelError: If the model folder is missing or damaged.
        UsageError: If a value is out of range, or the model lacks a label.
        TypeError: If there is no such option.

    Attributes:
        settings: Scoring settings.
        labels: Labels of the probabilities, in order.
        model_labels: All labels of the model.
        negative: The `labels` that count as negative.
    """

    def __init__(
        self, model: Path | str | None = None, *, envelope: bool = False, **options: Unpack[ScoringOptions]
    ) -> None:
        check_names("Predictor", options, ScoringOptions)
        self.settings = ScoringSettings.choose(model, envelope=envelope, **options)
        description = read_description(self.settings.folder)
        self.model_labels: tuple[str, ...] = tuple(description["labels"])
        self.labels = select_labels(self.model_labels, self.settings.emotions)
        self.negative: tuple[str, ...] = tuple(label for label in description["negative"] if label in self.labels)

    @cached_property
    def _scorer(self) -> "RecordingScorer":
        from sercli.prediction.scoring import RecordingScorer  # loads numpy, decoders and ONNX Runtime

        return RecordingScorer(self.settings)

    def predict(self, path: Path | str) -> Prediction:
        """Scores one recording in this process; always mixes its channels, even where ``auto`` would split them.

        Returns:
            Prediction with times in seconds and probabilities 0 to 1; its status is ``failed`` for an unusable file.

        Raises:
            ModelError: If the network cannot be loaded or run.
            UsageError: If the channels are to be split, which gives several rows, or this machine lacks the device.
        """
        if self.settings.channels == SPLIT:
            msg = "predict returns one row, so it cannot split the channels: call predict_channels"
            raise UsageError(msg)
        (prediction,) = self._scorer.score_now(_to_recording(path), channels=MIX).predictions
        return prediction

    def predict_channels(self, path: Path | str) -> tuple[Prediction, ...]:
        """Scores one recording in this process; returns one row per channel, as in a report.

        Raises:
            ModelError: If the network cannot be loaded or run.
            UsageError: If this machine lacks the device.
        """
        return self._scorer.score_now(_to_recording(path)).predictions

    def predict_many(
        self,
        recordings: Iterable[Path | str | Recording] | Path | str,
        *,
        jobs: int = 1,
        cluster: str | None = None,
        progress: OnScored | None = None,
    ) -> Generator[Prediction, None, None]:
        """Yields the rows of a report, in the order of the recordings; arguments as for `predict_as_done`."""
        results = self.predict_as_done(recordings, jobs=jobs, cluster=cluster, progress=progress)
        with contextlib.closing(results):
            for result in put_in_order(results):
                yield from result.predictions

    def predict_as_done(
        self,
        recordings: Iterable[Path | str | Recording] | Path | str,
        *,
        jobs: int = 1,
        cluster: str | None = None,
        progress: OnScored | None = None,
        finished: Set[int] = frozenset(),
    ) -> Generator[tuple[int, RecordingResult], None, None]:
        """Scores recordings in worker processes.

        Each row depends only on its recording; memory does not grow with their number or length.

        Args:
            recordings: Paths of sound files, or one; or recordings from `find_recordings`.
            jobs: Number of worker processes, at most one per core.
            cluster: Address of a Dask scheduler to use instead; its workers must see recordings and model under the
                same paths.
            progress: Called as recordings are done.
            finished: Positions to skip.

        Yields:
            The position and the result of each recording, in the order of completion.

        Raises:
            InputError: If the cluster cannot be used.
            ModelError: If the model cannot be used.
        """
        given = [recordings] if isinstance(recordings, str | Path) else recordings
        tasks = [_to_recording(recording) for recording in given]
        positions = [position for position in range(len(tasks)) if position not in finished]
        if not positions:
            return
        left = [tasks[position] for position in positions]
        with contextlib.ExitStack() as stack:
            if cluster is not None:
                from sercli.prediction.cluster import score_on_cluster

                messages = score_on_cluster(left, self.settings, cluster)
            else:
                cpus = min(jobs, count_cpus())
                workers = max(1, min(cpus, len(left)))
                pool = WorkerPool(replace(self.settings, overlap=workers < cpus), workers)
                messages = stack.enter_context(pool).score(left)
            stack.enter_context(contextlib.closing(messages))
            count = _Count(progress, len(finished))
            for number, message in messages:
                count.note(number, message)
                if isinstance(message, RecordingResult):
                    yield positions[number], message


def put_in_order(results: Iterable[tuple[int, RecordingResult]]) -> Iterator[RecordingResult]:
    """Yields results by position, from 0, each as soon as it and all before it are there."""
    waiting: dict[int, RecordingResult] = {}
    due = 0
    for position, result in results:
        waiting[position] = result
        while due in waiting:
            yield waiting.pop(due)
            due += 1


class _Count:
    """Counts recordings and seconds of audio from messages."""

    def __init__(self, progress: OnScored | None, finished: int) -> None:
        self._progress = progress
        self._recordings, self._seconds = finished, 0.0
        self._running: dict[int, float] = {}

    def note(self, number: int, message: Message) -> None:
        if isinstance(message, Heartbeat):
            self._running[number] = message.seconds
        else:
            self._running.pop(number, None)
            self._recordings += 1
            self._seconds += message.duration
        if self._progress:
            self._progress(self._recordings, self._seconds + sum(self._running.values()))


def _to_recording(given: Path | str | Recording) -> Recording:
    return given if isinstance(given, Recording) else Recording(path=Path(given), name=Path(given).as_posix())
