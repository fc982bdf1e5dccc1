"""Inspects an index before training: statistics, and issues to check."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sercli.audio.levels import Levels, measure_levels
from sercli.audio.quality import MAX_CLIPPED
from sercli.corpora.index import Index, Utterance
from sercli.errors import AudioError, SplitError
from sercli.evaluation.label_errors import LabelCheck, LabelError
from sercli.features.store import FeatureStore
from sercli.files import one_line
from sercli.labels import order_labels
from sercli.parallel import map_in_threads
from sercli.progress import Progress
from sercli.splits.fold import Fold
from sercli.splits.protocols import POOLED, make_folds

MIN_DURATION, MAX_DURATION = 0.5, 30.0  # seconds
MIN_SAMPLE_RATE = 16_000  # Hz
MIN_SNR = 15.0  # dB
MIN_UTTERANCES = 10  # per label
QUANTILES = {"min": 0, "5%": 5, "median": 50, "95%": 95, "max": 100}
HISTOGRAMS, BINS = ("duration", "level", "snr"), 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Something to check before training.

    Attributes:
        kind: Kind of issue.
        names: Affected files, speakers or labels, with details.
    """

    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Statistics of an index.

    Attributes:
        utterances: Number of utterances.
        hours: Total duration (hours).
        genders: Genders in the index; the empty string stands for unknown.
        labels: Number of utterances of each label by gender, and its number of speakers under ``speakers``.
        speakers: Number of utterances of each label by speaker; unknown speakers are left out.
        quantiles: `QUANTILES` of duration (s), peak and level (dB full scale), SNR (dB), and the shares of clipped
            samples and silent frames (0 to 1).
        histograms: Number of utterances (``counts``) between ``edges`` of duration, level and SNR.
        formats: Number of utterances by sample rate and number of channels.
        stored: Number of utterances in the feature store and their seconds of speech; None if there is no store.
        folds: Test speakers, sizes of the splits and missing test labels of each fold of protocol pooled.
        no_folds: Why protocol pooled does not work; empty if it does.
        issues: What to check before training.
        label_errors: Likely label errors; None if no results are given.
        tested: Number of recordings that the results tested under their label; 0 if none are given.
    """

    utterances: int
    hours: float
    genders: tuple[str, ...]
    labels: Mapping[str, Mapping[str, int]]
    speakers: Mapping[str, Mapping[str, int]]
    quantiles: Mapping[str, Mapping[str, float]]
    histograms: Mapping[str, Mapping[str, Sequence[float]]]
    formats: Mapping[str, int]
    stored: Mapping[str, float] | None
    folds: tuple[Mapping[str, Any], ...]
    no_folds: str
    issues: tuple[Issue, ...]
    label_errors: tuple[LabelError, ...] | None
    tested: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the content as a JSON-ready dict."""
        return asdict(self)


def inspect_index(
    index: Index,
    *,
    store: Path | None = None,
    check: LabelCheck | None = None,
    jobs: int = 1,
    progress: Progress = lambda *_: None,
) -> Inspection:
    """Counts the utterances of an index, and decodes its recordings to measure their levels.

    Args:
        index: Index to inspect.
        store: Feature store of the index; None to skip it.
        check: Likely label errors; None if no results are given.
        jobs: Number of recordings to decode in parallel.
        progress: Called after each decoded recording.

    Raises:
        StoreError: If the store is damaged.
    """
    levels, failures = _measure(index, jobs, progress)
    folds, no_folds = _draw_folds(index)
    rows = index.utterances
    columns = _list_measurements(rows, levels.values())
    return Inspection(
        utterances=len(index),
        hours=round(sum(row.duration for row in rows) / 3600, 4),
        genders=tuple(sorted({row.gender for row in rows})),
        labels=_count_labels(rows),
        speakers=_count_speakers(rows),
        quantiles={name: _describe(values) for name, values in columns.items()},
        histograms={name: _draw_histogram(columns[name]) for name in HISTOGRAMS if name in columns},
        formats=dict(Counter(f"{row.sample_rate} Hz, {row.channels} ch" for row in rows).most_common()),
        stored=_count_stored(index, store) if store else None,
        folds=tuple(folds),
        no_folds=no_folds,
        issues=tuple(_find_issues(rows, levels, failures)),
        label_errors=check.errors if check else None,
        tested=check.tested if check else 0,
    )


def _measure(index: Index, jobs: int, progress: Progress) -> tuple[dict[str, Levels], dict[str, str]]:
    levels: dict[str, Levels] = {}
    failures: dict[str, str] = {}
    paths = [index.path_of(row) for row in index.utterances]
    for done, (row, result) in enumerate(
        zip(index.utterances, map_in_threads(_try_to_measure, paths, jobs=jobs), strict=True), start=1
    ):
        if isinstance(result, Levels):
            levels[row.file] = result
        else:
            failures[row.file] = result
        progress(done, len(paths))
    return levels, failures


def _try_to_measure(path: Path) -> Levels | str:
    try:
        return measure_levels(path)
    except (AudioError, OSError) as reason:
        return one_line(reason)


def _count_labels(rows: Sequence[Utterance]) -> dict[str, dict[str, int]]:
    counts = Counter((row.emotion, row.gender) for row in rows)
    speakers = {(row.emotion, row.speaker) for row in rows if row.speaker}
    genders = sorted({row.gender for row in rows})
    return {
        label: {
            **{gender: counts[label, gender] for gender in genders},
            "all": sum(counts[label, gender] for gender in genders),
            "speakers": sum(label == emotion for emotion, _ in speakers),
        }
        for label in order_labels(row.emotion for row in rows)
    }


def _count_speakers(rows: Iterable[Utterance]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.speaker:
            counts[row.speaker][row.emotion] += 1
    return {
        speaker: {label: counts[speaker][label] for label in order_labels(counts[speaker])}
        for speaker in sorted(counts)
    }


def _list_measurements(rows: Iterable[Utterance], levels: Iterable[Levels]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {"duration": [row.duration for row in rows]}
    for recording in levels:
        for name, value in asdict(recording).items():
            columns.setdefault(name, []).append(value)
    return columns


def _describe(values: Sequence[float]) -> dict[str, float]:
    quantiles = np.percentile(values, list(QUANTILES.values())).round(4).tolist()
    return dict(zip(QUANTILES, quantiles, strict=True))


def _draw_histogram(values: Sequence[float]) -> dict[str, list[float]]:
    counts, edges = np.histogram(values, bins=BINS)
    return {"edges": edges.round(4).tolist(), "counts": counts.tolist()}


def _count_stored(index: Index, path: Path) -> dict[str, float]:
    with FeatureStore(path) as store:
        stored = {content.sha256: rows for content, rows in store.group_rows().items() if not content.augmentation}
        found = [stored[utterance.sha256] for utterance in index.utterances if utterance.sha256 in stored]
        speech = sum(store.rows[number].speech for rows in found for number in rows)
    return {"utterances": len(found), "speech": round(speech, 2)}


def _draw_folds(index: Index) -> tuple[list[dict[str, Any]], str]:
    try:
        folds = make_folds(index, POOLED, 0)
    except SplitError as reason:
        return [], str(reason)
    return [_describe_fold(index, fold) for fold in folds], ""


def _describe_fold(index: Index, fold: Fold) -> dict[str, Any]:
    tested = {index.utterances[position].emotion for position in fold.test}
    return {
        "fold": fold.number,
        "test_speakers": sorted({index.utterances[position].speaker for position in fold.test}),
        "train": len(fold.train),
        "dev": len(fold.dev),
        "test": len(fold.test),
        "test_lacks": list(order_labels(set(index.labels) - tested)),
    }


def _find_issues(
    rows: Sequence[Utterance], levels: Mapping[str, Levels], failures: Mapping[str, str]
) -> Iterable[Issue]:
    names_by_kind = {
        "cannot be read": [f"{file}: {reason}" for file, reason in failures.items()],
        "silent": [file for file, level in levels.items() if level.is_silent],
        "clipped": [f"{file} ({level.clipped:.1%})" for file, level in levels.items() if level.clipped > MAX_CLIPPED],
        f"SNR below {MIN_SNR:.0f} dB": [
            f"{file} ({level.snr:.0f} dB)"
            for file, level in levels.items()
            if level.snr < MIN_SNR and not level.is_silent
        ],
        f"shorter than {MIN_DURATION} s": [
            f"{row.file} ({row.duration:.2f} s)" for row in rows if row.duration < MIN_DURATION
        ],
        f"longer than {MAX_DURATION:.0f} s": [
            f"{row.file} ({row.duration:.0f} s)" for row in rows if row.duration > MAX_DURATION
        ],
        f"sample rate below {MIN_SAMPLE_RATE} Hz": [
            f"{row.file} ({row.sample_rate} Hz)" for row in rows if row.sample_rate < MIN_SAMPLE_RATE
        ],
        "duplicates": [f"{row.file} = {row.duplicate_of}" for row in rows if row.duplicate_of],
        "same sound with different labels": _find_contradictions(rows),
        **_find_label_issues(rows),
    }
    return (Issue(kind=kind, names=tuple(names)) for kind, names in names_by_kind.items() if names)


def _find_contradictions(rows: Iterable[Utterance]) -> list[str]:
    labels_by_sound: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels_by_sound[row.sound].add(row.emotion)
    return [
        f"{file} ({', '.join(order_labels(labels))})" for file, labels in labels_by_sound.items() if len(labels) > 1
    ]


def _find_label_issues(rows: Sequence[Utterance]) -> dict[str, list[str]]:
    counts = Counter(row.emotion for row in rows)
    speakers: dict[str, set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    corpora: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        speakers[row.emotion].add(row.speaker)
        labels[row.speaker].add(row.emotion)
        corpora[row.emotion].add(row.corpus)
    unknown = sum(not row.speaker for row in rows)
    many_corpora = len({row.corpus for row in rows}) > 1
    order = order_labels(counts)
    return {
        "speakers with one label only": [
            f"{speaker} ({min(names)})" for speaker, names in sorted(labels.items()) if speaker and len(names) == 1
        ],
        "labels that only one speaker has": [
            f"{label} ({min(speakers[label])})"
            for label in order
            if len(speakers[label]) == 1 and "" not in speakers[label]
        ],
        "labels that only one corpus has": [
            f"{label} ({min(corpora[label])})" for label in order if many_corpora and len(corpora[label]) == 1
        ],
        f"labels with fewer than {MIN_UTTERANCES} utterances": [
            f"{label} ({counts[label]})" for label in order if counts[label] < MIN_UTTERANCES
        ],
        "unknown speaker": [f"{unknown} of {len(rows)} utterances"] if unknown else [],
    }
