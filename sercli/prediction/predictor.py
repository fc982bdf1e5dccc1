"""Emotions of recordings: features in workers, the network on batches, rows in order."""

import contextlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sercli.config import AudioConfig, FeatureConfig
from sercli.errors import ModelError
from sercli.features.frontend import get_front_end
from sercli.labels import EMOTIONS
from sercli.models.folder import DEFAULT_MODEL, load_model
from sercli.models.normaliser import Moments, Normaliser
from sercli.parallel import count_workers, map_in_order, single_thread
from sercli.prediction.analysis import Analysis, Matrix, analyse
from sercli.prediction.discovery import Recording
from sercli.prediction.rows import Prediction
from sercli.training.device import pick_device

Logits = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with how many recordings are decoded, and how many there are."""

# Recordings are taken in groups, whose features are held at once: by number, and by size of file for long ones.
GROUP_RECORDINGS = 64
GROUP_BYTES = 16 << 20
BATCH_FRAMES = 1 << 14  # frames, padding included, that the network sees at once; some four minutes


class Predictor:
    """A trained model, ready for recordings.

    Example::

        Predictor().predict("call.wav").emotion

    Args:
        model: a model folder; the model that comes with the package if None.
        device: of the network: auto, cpu, cuda or mps.

    Raises:
        ModelError: if the model folder is missing or damaged.
        UsageError: if this machine has no such device.
    """

    def __init__(self, model: Path | str | None = None, *, device: str = "auto") -> None:
        self.device = pick_device(device)
        self.folder = DEFAULT_MODEL if model is None else Path(model)
        self._model = load_model(self.folder).to(self.device)
        self._front_end = get_front_end(self._model.features)

    def predict(self, path: Path | str) -> Prediction:
        """The emotion of one recording; a file that cannot be used has the status ``failed``."""
        return next(self.predict_many([path]))

    def predict_many(
        self,
        recordings: Iterable[Path | str | Recording],
        *,
        jobs: int = 1,
        cluster: str | None = None,
        speakers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Generator[Prediction, None, None]:
        """The emotions of recordings, in their order whatever the number of jobs.

        A row does not depend on the recordings around it by more than rounding, and memory not on their number.

        Args:
            recordings: paths of sound files, or what `find_recordings` found.
            jobs: workers that decode and compute features side by side, never more than there are cores.
            cluster: address of a Dask scheduler whose workers decode and compute features instead; they must see
                the recordings under the same paths. The network stays here.
            speakers: who speaks in a recording, by `Recording.name`; each speaker's recordings are then normalised
                by all of them together, for which everything is decoded twice.
            progress: called as recordings are decoded.

        Raises:
            InputError: if the cluster cannot be used.
            ModelError: if the model gives values that are not finite.
        """
        wanted = [_to_recording(recording) for recording in recordings]
        passes = 2 if speakers else 1
        done = itertools.count(1)

        def count() -> None:
            if progress:
                progress(next(done), passes * len(wanted))

        def analyse_all() -> Generator[list[Analysis], None, None]:
            return self._analyse_on_cluster(wanted, cluster, count) if cluster else self._analyse(wanted, jobs, count)

        normalisers = {}
        if speakers:
            with contextlib.closing(analyse_all()) as groups:
                normalisers = self._enrol(groups, speakers)
        with contextlib.closing(analyse_all()) as groups:
            for group in groups:
                with single_thread():
                    rows = self._score(group, normalisers)
                yield from rows

    def _analyse(
        self, recordings: Sequence[Recording], jobs: int, count: Callable[[], None]
    ) -> Generator[list[Analysis], None, None]:
        workers = max(1, min(count_workers(jobs), len(recordings)))
        groups = _group(recordings)
        stop = threading.Event()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="sercli")
        try:
            running = self._start(pool, next(groups, []), stop)
            while running:
                analyses = []
                for future in running:
                    analyses.append(future.result())
                    count()
                # The workers go on with the next group while the network works on this one.
                running = self._start(pool, next(groups, []), stop)
                yield analyses
        finally:
            # Also when the caller wants no more. Threads are waited for, since torch does not survive it when
            # Python ends under them.
            stop.set()
            pool.shutdown(cancel_futures=True)

    def _analyse_on_cluster(
        self, recordings: Sequence[Recording], cluster: str, count: Callable[[], None]
    ) -> Generator[list[Analysis], None, None]:
        work = partial(_analyse_elsewhere, audio=self._model.audio, features=self._model.features)
        analyses = map_in_order(work, recordings, cluster=cluster)
        while group := list(itertools.islice(analyses, GROUP_RECORDINGS)):
            for _ in group:
                count()
            yield group

    def _enrol(self, groups: Iterable[list[Analysis]], speakers: Mapping[str, str]) -> dict[str, Normaliser]:
        """A normaliser for each recording whose speaker is known, by the recording's name."""
        moments: dict[str, Moments] = defaultdict(Moments)
        for analysis in itertools.chain.from_iterable(groups):
            if speaker := speakers.get(analysis.recording.name):
                for window in analysis.windows:
                    moments[speaker].add(window.T)
        enrolled = {name: self._model.normaliser.enrol(found) for name, found in moments.items()}
        return {name: enrolled[speaker] for name, speaker in speakers.items() if speaker in enrolled}

    def _start(
        self, pool: ThreadPoolExecutor, group: Sequence[Recording], stop: threading.Event
    ) -> list[Future[Analysis]]:
        audio, front_end = self._model.audio, self._front_end
        return [pool.submit(analyse, recording, audio, front_end, stop) for recording in group]

    def _score(self, analyses: Sequence[Analysis], enrolled: Mapping[str, Normaliser]) -> list[Prediction]:
        windows = [window for analysis in analyses for window in analysis.windows]
        normalisers = [enrolled.get(a.recording.name, self._model.normaliser) for a in analyses for _ in a.windows]
        logits = iter(self._score_windows(windows, normalisers))
        return [_to_prediction(a, np.array(list(itertools.islice(logits, len(a.windows))))) for a in analyses]

    def _score_windows(self, windows: Sequence[Matrix], normalisers: Sequence[Normaliser]) -> Logits:
        """Calibrated logits of each window, in shape ``(len(windows), 8)``."""
        logits = np.empty((len(windows), len(EMOTIONS)))
        for batch in _batch([window.shape[1] for window in windows]):
            frames = [torch.from_numpy(windows[number]).to(self.device) for number in batch]
            logits[batch] = self._model.logits(frames, [normalisers[number] for number in batch]).cpu().numpy()
        if not np.isfinite(logits).all():
            msg = f"the model in {self.folder} gives values that are not finite: train it anew"
            raise ModelError(msg)
        return logits


def _analyse_elsewhere(recording: Recording, *, audio: AudioConfig, features: FeatureConfig) -> Analysis:
    return analyse(replace(recording, path=recording.path.absolute()), audio, get_front_end(features))


def _to_recording(given: Path | str | Recording) -> Recording:
    return given if isinstance(given, Recording) else Recording(path=Path(given), name=Path(given).as_posix())


def _group(recordings: Sequence[Recording]) -> Iterator[list[Recording]]:
    """Runs of recordings that are worked on together; the same ones whatever the number of jobs."""
    group: list[Recording] = []
    held = 0
    for recording in recordings:
        size = _size(recording)
        if group and (len(group) == GROUP_RECORDINGS or held + size > GROUP_BYTES):
            yield group
            group, held = [], 0
        group.append(recording)
        held += size
    if group:
        yield group


def _size(recording: Recording) -> int:
    try:
        return recording.path.stat().st_size
    except OSError:
        return 0


def _batch(n_frames: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of windows of like length, so that little is padding, in batches of bounded size."""
    batch: list[int] = []
    for number in sorted(range(len(n_frames)), key=lambda number: n_frames[number]):
        if batch and (len(batch) + 1) * n_frames[number] > BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _to_prediction(analysis: Analysis, logits: Logits) -> Prediction:
    name, duration = analysis.recording.name, analysis.duration
    if analysis.error:
        return Prediction(file=name, status="failed", error=analysis.error)
    if not analysis.windows:
        return Prediction(file=name, status="no-speech", start=0.0, end=duration, duration=duration, speech=0.0)
    probabilities = _softmax(np.average(logits, axis=0, weights=analysis.lengths))
    best = int(probabilities.argmax())
    return Prediction(
        file=name,
        status="ok",
        emotion=EMOTIONS[best],
        confidence=float(probabilities[best]),
        probabilities=tuple(probabilities.tolist()),
        start=0.0,
        end=duration,
        duration=duration,
        speech=analysis.speech,
    )


def _softmax(logits: Logits) -> Logits:
    powers = np.exp(logits - logits.max())
    probabilities: Logits = powers / powers.sum()
    return probabilities
