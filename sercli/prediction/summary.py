"""What a run adds up to, counted row by row."""

from collections import Counter, defaultdict
from collections.abc import Container

from sercli.prediction.rows import Prediction


class Tally:
    """Counts rows as they come; keeps only what is told at the end.

    Args:
        keep: names of the recordings whose rows are wanted afterwards.

    Attributes:
        recordings: how many there were.
        silent: of them, those without speech.
        duration: of all that could be decoded, in seconds.
        emotions: recordings of each emotion.
        confidences: sum of the confidences of each emotion.
        failures: name and reason of each recording that failed.
        kept: rows of the recordings to keep.
    """

    def __init__(self, keep: Container[str] = ()) -> None:
        self.recordings = 0
        self.silent = 0
        self.duration = 0.0
        self.emotions: Counter[str] = Counter()
        self.confidences: defaultdict[str, float] = defaultdict(float)
        self.failures: list[tuple[str, str]] = []
        self.kept: list[Prediction] = []
        self._keep = keep

    @property
    def answered(self) -> int:
        """Recordings whose emotion could be told."""
        return self.emotions.total()

    def add(self, prediction: Prediction) -> None:
        """Counts one row."""
        self.recordings += 1
        self.duration += prediction.duration or 0.0
        if prediction.file in self._keep:
            self.kept.append(prediction)
        if prediction.status == "failed":
            self.failures.append((prediction.file, prediction.error))
        elif prediction.status == "no-speech":
            self.silent += 1
        else:
            self.emotions[prediction.emotion] += 1
            self.confidences[prediction.emotion] += prediction.confidence or 0.0
