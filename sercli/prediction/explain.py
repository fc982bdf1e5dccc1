"""Explains a prediction by attention over time, and by occlusion: attribution over time and frequency."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sercli.audio.segmentation import Segment, Summary, read_segments
from sercli.config import AUTO, MIX, SPLIT
from sercli.errors import AudioError, UsageError
from sercli.features.frontend import extract_features
from sercli.files import write_by_rename
from sercli.models.folder import DEFAULT_MODEL
from sercli.models.model import Features, Model, average_segments, load_model
from sercli.plots import ExplainedSegment, draw_explanation
from sercli.prediction.report import encodable
from sercli.prediction.settings import EXPLANATION_SUFFIXES

MAX_SEGMENTS = 4  # segments per explanation; more do not fit a picture
CELL_SECONDS = 0.16  # width of an occluded cell
N_BANDS = 6  # rows of cells, from the lowest frequency to the highest
N_PEAKS = 600  # points of the waveform
DECIMALS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a recording was given its emotion.

    Attributes:
        file: Path of the recording.
        channel: ``mix``, or the number of the channel.
        separate: Channels that `sercli.prediction.predictor.Predictor` scores separately by default; empty if it mixes
            them, or if a channel was asked for.
        emotion: The most probable label, which the attribution is for.
        probabilities: Calibrated probability of each label, of the whole recording.
        n_segments: Segments of the recording.
        segments: Segments with the highest probability of the emotion, at most `MAX_SEGMENTS`, in order of time.
    """

    file: str
    channel: str
    separate: tuple[str, ...]
    emotion: str
    probabilities: dict[str, float]
    n_segments: int
    segments: tuple[ExplainedSegment, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns a JSON-ready dict; numbers are rounded."""
        rounded: dict[str, Any] = _round(asdict(self))
        return rounded


def explain(path: Path | str, model: Model | Path | str | None = None, *, channel: str = AUTO) -> Explanation:
    """Explains the most probable emotion of a recording.

    Each cell of a coarse grid over time and frequency is replaced by the mean of the training data (occlusion, Zeiler &
    Fergus 2014). Its attribution is the drop in log-odds of the emotion (nats): above 0 where the sound supports the
    emotion, below 0 where it counts against it.

    Example:
        ``explain("call.wav").segments[0].attribution``

    Args:
        path: Sound file.
        model: A model or its folder; None for the model included in the package.
        channel: ``mix`` for the mean of all channels, or the number of one, from 1; ``auto`` for the mean, with the
            channels that are usually scored separately named in the result.

    Raises:
        AudioError: If nothing can be decoded, or nobody speaks.
        ModelError: If the model folder is damaged.
        UsageError: If there is no such channel.
    """
    model = model if isinstance(model, Model) else load_model(Path(DEFAULT_MODEL if model is None else model))
    segments, separate = _read(Path(path), model, channel)
    if separate:
        segments, _ = _read(Path(path), model, MIX)
    matrices = [extract_features(segment.signal, model.features) for segment in segments]
    logits = model.logits(matrices)
    pooled = model.probabilities(average_segments(logits, [segment.speech for segment in segments]))
    target = int(pooled.argmax())
    of_segments = model.probabilities(logits)
    most = sorted(np.argsort(-of_segments[:, target], kind="stable")[:MAX_SEGMENTS])
    explained = [_explain(model, segments[n], matrices[n], of_segments[n], target) for n in most]
    return Explanation(
        file=encodable(str(path)),
        channel=MIX if channel == AUTO else channel,
        separate=separate,
        emotion=model.labels[target],
        probabilities=dict(zip(model.labels, pooled.tolist(), strict=True)),
        n_segments=len(segments),
        segments=tuple(explained),
    )


def write_explanation(path: Path, explanation: Explanation) -> None:
    """Writes an explanation as a picture, a page or JSON, by the suffix of the path.

    Raises:
        UsageError: If the suffix is not supported.
        OSError: If it cannot be written.
    """
    check_explanation_path(path)
    best = f"{explanation.emotion} ({explanation.probabilities[explanation.emotion]:.0%})"
    side = "" if explanation.channel == MIX else f", channel {explanation.channel}"
    title = f"{Path(explanation.file).name}{side}: {best}"
    if path.suffix.lower() == ".json":
        with write_by_rename(path) as stream:
            json.dump(explanation.to_dict(), stream, ensure_ascii=False, allow_nan=False)
            stream.write("\n")
    elif path.suffix.lower() == ".html":
        from sercli.page.render import render_page

        picture = base64.b64encode(draw_explanation(explanation.segments, title, "svg")).decode()
        labels = list(explanation.probabilities)
        page = render_page(
            "explanation.html", scripts=(), data={}, labels=labels, it=explanation, side=side, picture=picture
        )
        with write_by_rename(path) as stream:
            stream.write(page)
    else:
        with write_by_rename(path, "wb") as stream:
            stream.write(draw_explanation(explanation.segments, title, path.suffix.lower()[1:]))


def check_explanation_path(path: Path) -> None:
    """Checks that the suffix of a path names a format of explanations.

    Raises:
        UsageError: If the suffix is not supported.
    """
    if path.suffix.lower() not in EXPLANATION_SUFFIXES:
        *first, last = EXPLANATION_SUFFIXES
        msg = f"--out expects a name ending in {', '.join(first)} or {last}, found {str(path)!r}"
        raise UsageError(msg)


def _read(path: Path, model: Model, channel: str) -> tuple[list[Segment], tuple[str, ...]]:
    """Reads the segments of a channel; or for ``auto``, those of all channels, and their names if there are several."""
    channels = channel if channel in {AUTO, MIX} else SPLIT
    try:
        events = list(read_segments(path, model.audio, model.segmentation, channels=channels))
    except AudioError as reason:
        msg = f"{path}: {reason}"
        raise AudioError(msg) from None
    *_, last = events
    names = [summary.name for summary in last.channels] if isinstance(last, Summary) else []
    wanted = names if channel == AUTO else [channel]
    own = [event for event in events if isinstance(event, Segment) and event.channel in wanted]
    if channel not in {AUTO, *names}:
        expected = " or ".join(dict.fromkeys((MIX, *names)))
        msg = f"{path} has no channel {channel!r}: expected {expected}"
        raise UsageError(msg)
    if not own:
        msg = f"{path}: no speech found: there is nothing to explain"
        raise AudioError(msg)
    return own, tuple(names) if len(wanted) > 1 else ()


def _explain(
    model: Model, segment: Segment, matrix: Features, probabilities: npt.NDArray[np.float64], target: int
) -> ExplainedSegment:
    rate, hop = model.audio.sample_rate, model.features.hop_length
    size = max(1, -(-len(segment.signal) // N_PEAKS))
    peaks = [np.abs(segment.signal[at : at + size]).max() for at in range(0, len(segment.signal), size)]
    return ExplainedSegment(
        start=segment.onset,
        end=segment.onset + len(segment.signal) / rate,
        probabilities=dict(zip(model.labels, probabilities.tolist(), strict=True)),
        peaks=np.array(peaks, np.float64),
        features=np.asarray(matrix, np.float64),
        attention=np.asarray(model.attention(matrix), np.float64),
        attribution=_occlude(model, matrix, target, width=max(1, round(CELL_SECONDS * rate / hop))),
    )


def _occlude(model: Model, matrix: Features, target: int, width: int) -> npt.NDArray[np.float64]:
    """Computes the attribution of each cell, shape ``(n_bands, n_cells)``."""
    rows, columns = (np.array_split(np.arange(n), min(n, count)) for n, count in _count_cells(matrix, width))
    mean = model.normalizer.mean[:, None]

    def occlude() -> Iterator[Features]:
        for band in rows:
            for cell in columns:
                hidden = np.array(matrix, np.float32)
                hidden[band[0] : band[-1] + 1, cell[0] : cell[-1] + 1] = mean[band]
                yield hidden

    odds = _log_odds(model.logits([matrix, *occlude()]) / model.temperature, target)
    attribution: npt.NDArray[np.float64] = (odds[0] - odds[1:]).reshape(len(rows), len(columns))
    return attribution


def _count_cells(matrix: Features, width: int) -> Sequence[tuple[int, int]]:
    n_features, n_frames = matrix.shape
    return (n_features, N_BANDS), (n_frames, -(-n_frames // width))


def _log_odds(logits: npt.NDArray[np.float64], target: int) -> npt.NDArray[np.float64]:
    others = np.delete(logits, target, axis=1)
    odds: npt.NDArray[np.float64] = logits[:, target] - np.logaddexp.reduce(others, axis=1)
    return odds


def _round(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _round(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_round(item) for item in value]
    if isinstance(value, np.ndarray):
        return np.round(value, DECIMALS).tolist()
    return round(value, DECIMALS) if isinstance(value, float) else value
