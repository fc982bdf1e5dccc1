"""Emotions of recordings: decoding and features in workers, the network on batches, rows in order."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sercli.audio.cutters import MIX, Cutting
from sercli.errors import UsageError
from sercli.models.folder import DEFAULT_MODEL, load_model
from sercli.models.normalizer import Moments, Normalizer
from sercli.parallel import count_workers, map_in_order, single_thread
from sercli.prediction.analysis import Analysis, AnalysisConfig, Finding, Piece, Progress, analyse
from sercli.prediction.discovery import Recording
from sercli.prediction.enrolment import Speakers
from sercli.prediction.rows import Prediction
from sercli.prediction.scoring import Scorer
from sercli.prediction.workers import DEFAULT_TIMEOUT, analyse_in_workers
from sercli.training.device import pick_device

ShowProgress = Callable[[int, float], None]
"""Called with how many recordings are worked through, and how many seconds of audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A recording that is done.

    Attributes:
        position: of the recording among those given, from 0.
        sha256: of the file; empty if it could not be read.
        predictions: a row for each channel that was scored, or the one that says what went wrong.
    """

    position: int
    sha256: str
    predictions: tuple[Prediction, ...]


class Predictor:
    """A trained model, ready for recordings.

    Example::

        prediction = Predictor().predict("call.wav")
        print(prediction.emotion, prediction.confidence)
        for segment in prediction.segments:
            print(segment.start, segment.end, segment.emotion)

    Args:
        model: a model folder; the model that comes with the package if None.
        device: of the network: auto, cpu, cuda or mps.
        cutting: which parts of recordings are scored; speech, of each side of what is stereo, if None.
        min_confidence: 0 to 1, under which an emotion is ``uncertain``.

    Raises:
        ModelError: if the model folder is missing or damaged.
        UsageError: if this machine has no such device, or `min_confidence` is no probability.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        *,
        device: str = "auto",
        cutting: Cutting | None = None,
        min_confidence: float = 0.0,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            msg = f"the least confidence should be 0 to 1, found {min_confidence}"
            raise UsageError(msg)
        self.device = pick_device(device)
        self.folder = DEFAULT_MODEL if model is None else Path(model)
        self.min_confidence = min_confidence
        self._model = load_model(self.folder).to(self.device)
        self.config = AnalysisConfig(
            audio=self._model.audio, features=self._model.features, cutting=cutting or Cutting()
        )

    def predict(self, path: Path | str) -> Prediction:
        """The emotion of one recording, all its channels together, told in this process.

        Returns:
            with times in seconds and probabilities of 0 to 1; a file that cannot be used has the status ``failed``.
        """
        mixed = replace(self.config, cutting=replace(self.config.cutting, channels=MIX))
        (prediction,) = self._predict_here(path, mixed)
        return prediction

    def predict_channels(self, path: Path | str) -> tuple[Prediction, ...]:
        """As `predict`, with a row for each channel that is scored for itself, as in the report."""
        return self._predict_here(path, self.config)

    def predict_many(
        self,
        recordings: Iterable[Path | str | Recording],
        *,
        jobs: int = 1,
        cluster: str | None = None,
        speakers: Speakers | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        progress: ShowProgress | None = None,
    ) -> Generator[Prediction, None, None]:
        """As `predict_as_done`, with all rows in the order of the recordings, whatever the number of jobs."""
        held: dict[int, tuple[Prediction, ...]] = {}
        due = 0
        results = self.predict_as_done(
            recordings, jobs=jobs, cluster=cluster, speakers=speakers, timeout=timeout, progress=progress
        )
        with contextlib.closing(results):
            for result in results:
                held[result.position] = result.predictions
                while due in held:
                    yield from held.pop(due)
                    due += 1

    def predict_as_done(
        self,
        recordings: Iterable[Path | str | Recording],
        *,
        jobs: int = 1,
        cluster: str | None = None,
        speakers: Speakers | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        progress: ShowProgress | None = None,
        finished: Set[int] = frozenset(),
    ) -> Generator[Result, None, None]:
        """The emotions of recordings as they are done, worked through in processes of their own.

        A row does not depend on the recordings around it by more than rounding, and memory neither on their number
        nor on their length.

        Args:
            recordings: paths of sound files, or what `find_recordings` found.
            jobs: processes that decode and compute features side by side, never more than there are cores.
            cluster: address of a Dask scheduler whose workers do that instead; they must see the recordings under
                the same paths. The network stays here.
            speakers: who speaks; each speaker's recordings are then normalised by all of them together, for which
                everything is decoded twice.
            timeout: seconds without a sign of life after which a recording is given up.
            progress: called as recordings are worked through.
            finished: positions that need no answer any more; they still tell how their speakers sound.

        Raises:
            InputError: if the cluster cannot be used.
            ModelError: if the model gives values that are not finite.
            KeyboardInterrupt: at Ctrl-C, when the recordings that were worked through by then are given out.
        """
        wanted = [_to_recording(recording) for recording in recordings]
        count = _Count(progress, len(finished))

        def find(positions: Sequence[int]) -> Generator[tuple[int, Finding], None, None]:
            chosen = [wanted[position] for position in positions]
            workers = max(1, min(count_workers(jobs), len(chosen)))
            findings = (
                _analyse_on_cluster(chosen, self.config, cluster)
                if cluster
                else analyse_in_workers(chosen, self.config, workers=workers, timeout=timeout)
            )
            with contextlib.closing(findings):
                for number, found in findings:
                    yield positions[number], found

        remaining = [position for position in range(len(wanted)) if position not in finished]
        if not remaining:
            return

        enrolled: dict[str, Normalizer] = {}
        if speakers:
            with contextlib.closing(find(range(len(wanted)))) as findings:
                enrolled = self._enrol(findings, wanted, speakers)
        scorer = Scorer(
            self._model,
            self.device,
            lambda name, channel: self._find_normalizer(enrolled, speakers, name, channel),
            min_confidence=self.min_confidence,
        )
        with contextlib.closing(find(remaining)) as findings:
            try:
                for task, found in count.watch(findings):
                    if isinstance(found, Piece | Analysis):
                        scorer.add(task, wanted[task].name, found)
                    if scorer.is_due:
                        yield from _to_results(scorer)
            except KeyboardInterrupt:
                yield from _to_results(scorer)  # what has been counted as worked through shall not be lost
                raise
            yield from _to_results(scorer)

    def _predict_here(self, path: Path | str, config: AnalysisConfig) -> tuple[Prediction, ...]:
        recording = _to_recording(path)
        scorer = Scorer(self._model, self.device, lambda *_: self._model.normalizer, min_confidence=self.min_confidence)
        rows: tuple[Prediction, ...] = ()
        with single_thread():
            for found in analyse(recording, config):
                if isinstance(found, Piece | Analysis):
                    scorer.add(0, recording.name, found)
                if isinstance(found, Analysis) or scorer.is_due:
                    for _, _, rows in scorer.score():  # noqa: B007 - the last, and only one
                        pass
        return rows

    def _enrol(
        self, findings: Iterable[tuple[int, Finding]], recordings: Sequence[Recording], speakers: Speakers
    ) -> dict[str, Normalizer]:
        """A normalizer for each speaker of whom anything was heard."""
        moments: dict[str, Moments] = defaultdict(Moments)
        for task, found in findings:
            if isinstance(found, Piece):
                speaker = speakers.find(recordings[task].name, found.channel)
                if speaker is not None:
                    moments[speaker].add(found.features.T)
        return {name: self._model.normalizer.enrol(heard) for name, heard in moments.items()}

    def _find_normalizer(
        self, enrolled: dict[str, Normalizer], speakers: Speakers | None, name: str, channel: str
    ) -> Normalizer:
        speaker = speakers.find(name, channel) if speakers else None
        return enrolled.get(speaker, self._model.normalizer) if speaker is not None else self._model.normalizer


def _to_results(scorer: Scorer) -> Iterator[Result]:
    for task, analysis, rows in scorer.score():
        yield Result(position=task, sha256=analysis.sha256, predictions=rows)


class _Count:
    """Counts recordings and seconds as findings pass by."""

    def __init__(self, progress: ShowProgress | None, finished: int) -> None:
        self._progress = progress
        self._recordings, self._seconds = finished, 0.0
        self._running: dict[int, float] = {}

    def watch(self, findings: Iterable[tuple[int, Finding]]) -> Iterator[tuple[int, Finding]]:
        for task, found in findings:
            if isinstance(found, Progress):
                self._running[task] = found.seconds
            elif isinstance(found, Analysis):
                self._running.pop(task, None)
                self._recordings += 1
                self._seconds += found.duration
            if self._progress and not isinstance(found, Piece):
                self._progress(self._recordings, self._seconds + sum(self._running.values()))
            yield task, found


def _analyse_on_cluster(
    recordings: Sequence[Recording], config: AnalysisConfig, cluster: str
) -> Generator[tuple[int, Finding], None, None]:
    work = partial(_analyse_elsewhere, config=config)
    placed = [replace(recording, path=recording.path.absolute()) for recording in recordings]  # theirs is elsewhere
    for task, findings in enumerate(map_in_order(work, placed, cluster=cluster)):
        for found in findings:
            yield task, found


def _analyse_elsewhere(recording: Recording, *, config: AnalysisConfig) -> list[Finding]:
    return list(analyse(recording, config))


def _to_recording(given: Path | str | Recording) -> Recording:
    return given if isinstance(given, Recording) else Recording(path=Path(given), name=Path(given).as_posix())
