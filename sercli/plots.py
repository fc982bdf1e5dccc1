"""Pictures: confusion matrix, reliability diagram, training curves, explanation of a recording."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sercli.files import one_line, write_by_rename
from sercli.metrics import ReliabilityBin

DPI = 130
TRAIN_COLOR, DEV_COLOR = "#1f6fb2", "#d9762b"
CURVES = ("loss", "accuracy")  # columns of the picture, and suffixes of the history's keys
MAX_CELLS = 24  # classes whose confusions are written into the picture
MAX_ROWS = 3  # training runs with a row each; more of them share one row

History = Sequence[Mapping[str, float]]
"""One mapping per epoch with the keys ``epoch``, ``train_loss``, ``dev_loss``, ``train_accuracy``, ``dev_accuracy``."""


def save_confusion(path: Path, matrix: npt.ArrayLike, labels: Sequence[str], title: str = "") -> None:
    """Draws a confusion matrix; each cell shows its count, and its share of the row as text and color.

    Args:
        path: PNG file.
        matrix: Counts, shape ``(n, n)``; rows are the truth, columns the prediction.
        labels: Names of the `n` classes; the cells of more than `MAX_CELLS` classes have no text.
        title: Text above the picture.

    Raises:
        OSError: If it cannot be written.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    support = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(support, 1)
    size = min(len(labels), MAX_CELLS)
    figure = Figure(figsize=(1.6 + 0.85 * size, 1.4 + 0.75 * size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        if support[row] and len(labels) <= MAX_CELLS:
            _write_cell(axes, row, column, int(count), float(shares[row, column]))
    numbers = [f"{name} ({total})" for name, total in zip(labels, support[:, 0], strict=True)]
    step = max(1, math.ceil(len(labels) / MAX_CELLS))  # more names would overlap
    ticks = range(0, len(labels), step)
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(ticks, labels[::step], parse_math=False, **turned)
    axes.set_yticks(ticks, numbers[::step], parse_math=False)
    axes.set(xlabel="prediction", ylabel="truth (count)")
    axes.set_title(title, fontsize=12, pad=12, parse_math=False)
    axes.tick_params(length=0)
    if size == len(labels):
        axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1), fraction=0.045, pad=0.02)
    bar.set_label("share of the row")
    bar.outline.set_visible(False)
    _save(figure, path)


def save_curves(path: Path, histories: Sequence[History], titles: Sequence[str]) -> None:
    """Draws loss and accuracy of training and development utterances by epoch, one row per training.

    Args:
        path: PNG file.
        histories: History of each training; more than `MAX_ROWS` share one row.
        titles: Title of each training.

    Raises:
        OSError: If it cannot be written.
    """
    rows = [([history], title) for history, title in zip(histories, titles, strict=True)]
    if len(rows) > MAX_ROWS:
        rows = [(list(histories), f"{len(histories)} training runs")]
    figure = Figure(figsize=(10, 1.0 + 2.9 * max(len(rows), 1)), layout="constrained")
    grid = figure.subplots(max(len(rows), 1), len(CURVES), squeeze=False)
    for (group, title), line in zip(rows, grid, strict=False):
        for axes, name in zip(line, CURVES, strict=True):
            for history in filter(len, group):
                _draw_curves(axes, history, name, faint=len(group) > 1)
            _style_axes(axes, name, longest=max(map(len, group)))
            axes.set_title(f"{title}: {name}" if title else name, fontsize=11, parse_math=False)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles[:2], names[:2], loc="outside upper center", ncols=2, frameon=False)
    _save(figure, path)


def save_reliability(path: Path, bins: Sequence[ReliabilityBin], title: str = "") -> None:
    """Draws a reliability diagram: accuracy and number of predictions by confidence.

    Args:
        path: PNG file.
        bins: Result of `sercli.metrics.measure_reliability`.
        title: Text above the picture.

    Raises:
        OSError: If it cannot be written.
    """
    figure = Figure(figsize=(5.6, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = [b for b in bins if b.count]
    centers, widths = [(b.low + b.high) / 2 for b in filled], [0.94 * (b.high - b.low) for b in filled]
    upper.bar(centers, [b.accuracy or 0.0 for b in filled], widths, color=TRAIN_COLOR, label="accuracy")
    upper.plot([0, 1], [0, 1], color=DEV_COLOR, linestyle="--", label="perfectly calibrated")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.set_title(title, fontsize=12, pad=10, parse_math=False)
    upper.legend(loc="upper left", frameon=False)
    lower.bar(centers, [b.count for b in filled], widths, color="#a8b4bf")
    lower.set(xlabel="confidence", ylabel="predictions")
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    lower.xaxis.set_major_formatter(PercentFormatter(1))
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axes in (upper, lower):
        axes.grid(color="#e3e7ea", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def save_tuning(path: Path, scores: Sequence[float | None], importance: Mapping[str, float]) -> None:
    """Draws the score of each trial with the best so far, and the importance of each parameter.

    Args:
        path: PNG file.
        scores: Score of each trial, 0 to 1; None for a trial that was pruned.
        importance: Importance of each parameter, 0 to 1.

    Raises:
        OSError: If it cannot be written.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    history, bars = figure.subplots(1, 2)
    done = [(number, score) for number, score in enumerate(scores) if score is not None]
    numbers, values = [number for number, _ in done], [score for _, score in done]
    history.plot(numbers, values, "o", color=TRAIN_COLOR, label="trial")
    history.step(numbers, np.maximum.accumulate(values), color=DEV_COLOR, where="post", label="best so far")
    history.set(xlabel="trial", ylabel="mean UAR of the inner folds")
    history.set_title(f"{len(done)} trials completed, {len(scores) - len(done)} pruned", fontsize=11)
    history.xaxis.set_major_locator(MaxNLocator(integer=True))
    history.legend(loc="lower right", frameon=False)
    history.grid(color="#e3e7ea", linewidth=0.8)
    ranked = sorted(importance.items(), key=lambda item: item[1])
    bars.barh([name for name, _ in ranked], [share for _, share in ranked], color=TRAIN_COLOR)
    bars.set(xlabel="share", xlim=(0, 1))
    bars.set_title("importance of each parameter", fontsize=11)
    for axes in (history, bars):
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSegment:
    """Segment with what its prediction rests on.

    Attributes:
        start: Start, from the beginning of the recording (s).
        end: End, from the beginning of the recording (s).
        probabilities: Calibrated probability of each label.
        peaks: Absolute peak of the waveform in steps of equal length.
        features: Input features of the network (log-mel in dB), shape ``(n_features, n_frames)``.
        attention: Weight of each step in each member of the network, shape ``(n_members, n_steps)``; rows sum to 1.
        attribution: Drop in the log-odds (nats) when a cell is occluded, shape ``(n_bands, n_cells)``, lowest band
            first.
    """

    start: float
    end: float
    probabilities: dict[str, float]
    peaks: npt.NDArray[np.float64]
    features: npt.NDArray[np.float64]
    attention: npt.NDArray[np.float64]
    attribution: npt.NDArray[np.float64]


def draw_explanation(segments: Sequence[ExplainedSegment], title: str, suffix: str) -> bytes:
    """Draws waveform, spectrogram, attribution, attention and probabilities of segments, side by side.

    Args:
        segments: In order of time.
        title: Text above the picture.
        suffix: ``png`` or ``svg``.
    """
    widths = [each.end - each.start for each in segments]
    figure = Figure(figsize=(min(14, max(7, 2 + 1.2 * sum(widths))), 7.5), layout="constrained")
    grid = figure.subplots(5, len(segments), squeeze=False, width_ratios=widths, height_ratios=(1, 2, 2, 1, 1.6))
    limit = max(1e-6, *(float(np.abs(each.attribution).max()) for each in segments))
    for each, (wave, spectrum, attribution, attention, bars) in zip(segments, grid.T, strict=True):
        span = (each.start, each.end)
        image: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
        wave.fill_between(np.linspace(*span, len(each.peaks)), -each.peaks, each.peaks, color="#4a5663", linewidth=0)
        spectrum.imshow(each.features, extent=(*span, 0, len(each.features)), cmap="magma", **image)
        attribution.imshow(each.attribution, extent=(*span, 0, 1), cmap="RdBu_r", vmin=-limit, vmax=limit, **image)
        edges = np.linspace(*span, each.attention.shape[1] + 1)
        for weights in each.attention:
            attention.stairs(weights * len(weights), edges, color=TRAIN_COLOR, linewidth=1.4)
        attention.axhline(1, color="#a8b4bf", linestyle="--", linewidth=0.8)
        for axes in (wave, spectrum, attribution, attention):
            axes.set_xlim(span)
        attention.set(ylim=(0, None), xlabel="time (s)")
        best = max(each.probabilities, key=lambda label: each.probabilities[label])
        wave.set_title(f"{best} {each.probabilities[best]:.0%}", fontsize=10, parse_math=False)
        bars.bar(range(len(each.probabilities)), list(each.probabilities.values()), color=TRAIN_COLOR)
        bars.set_ylim(0, 1)
        bars.set_xticks(
            range(len(each.probabilities)),
            list(each.probabilities),
            rotation=40,
            ha="right",
            fontsize=8,
            parse_math=False,
        )
    for axes, name in zip(
        grid[:, 0], ("waveform", "log-mel", "attribution", "attention\n/ mean", "probability"), strict=True
    ):
        axes.set_ylabel(name)
    for axes in grid[:4].flat:
        axes.set_yticks([])
    for axes in grid[:3].flat:
        axes.tick_params(labelbottom=False)
    for axes in grid[4, 1:]:
        axes.set_yticklabels([])
    figure.colorbar(grid[2, 0].images[0], ax=list(grid[2]), label="nats", fraction=0.02, pad=0.01)
    figure.suptitle(one_line(title), parse_math=False)
    stream = io.BytesIO()
    _print(figure, stream, suffix)
    return stream.getvalue()


def _write_cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    color = "white" if share > 0.55 else "#20303f" if count else "#a8b4bf"
    weight = "bold" if row == column else "normal"
    axes.text(column, row - 0.1, str(count), ha="center", va="center", color=color, weight=weight)
    if count:
        axes.text(column, row + 0.24, f"{share:.0%}", ha="center", va="center", color=color, fontsize=7.5)


def _draw_curves(axes: Axes, history: History, name: str, *, faint: bool) -> None:
    epochs = [epoch["epoch"] for epoch in history]
    marker = "o" if len(history) < 3 else ""  # a line with one point is invisible
    width, alpha = (0.9, 0.45) if faint else (1.8, 1.0)
    for side, label, color in (("train", "training", TRAIN_COLOR), ("dev", "development", DEV_COLOR)):
        values = [epoch[f"{side}_{name}"] for epoch in history]
        axes.plot(epochs, values, color=color, label=label, linewidth=width, alpha=alpha, marker=marker, clip_on=False)


def _style_axes(axes: Axes, name: str, *, longest: int) -> None:
    axes.set(xlabel="epoch", ylabel=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, longest + 1)
    if name == "accuracy":
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        axes.set_ylim(0, None if longest else 1)
    axes.grid(color="#e3e7ea", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    with write_by_rename(path, "wb") as stream:
        _print(figure, stream, "png")


def _print(figure: Figure, stream: IO[bytes], suffix: str) -> None:
    # Not pyplot, which would choose a backend for the whole process and keep every figure in memory.
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a script that it cannot draw
        canvas.print_figure(stream, format=suffix, dpi=DPI)
