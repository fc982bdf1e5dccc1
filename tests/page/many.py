"""Pages of many made-up recordings."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sercli.audio.envelope import LEVELS, POINTS
from sercli.labels import EMOTIONS, NEGATIVE
from sercli.prediction.discovery import Recording
from sercli.prediction.page import ReportPage
from sercli.prediction.rows import Prediction, SegmentPrediction
from sercli.prediction.summary import BatchSummary

LABELS = ("neutral", "angry", "bored", "joy")
DESCRIPTION: dict[str, Any] = {"figures": {}, "recipe": {"name": "toy"}, "typicality": {"minimum": 0.02}}


def make_prediction(name: str, rng: random.Random, labels: Sequence[str], segments: int) -> Prediction:
    """A row with segments of some seconds, and probabilities as a network gives them."""
    made = []
    time = 0.0
    for _ in range(segments):
        time += rng.uniform(0, 2)
        length = rng.uniform(1, 6)
        powers = [rng.random() ** 4 + 1e-3 for _ in labels]
        shares = tuple(power / sum(powers) for power in powers)
        made.append(
            SegmentPrediction(
                start=time,
                end=time + length,
                speech=length,
                emotion=labels[shares.index(max(shares))],
                confidence=max(shares),
                probabilities=shares,
            )
        )
        time += length
    return Prediction(
        file=name,
        status="ok",
        emotion=made[0].emotion,
        confidence=made[0].confidence,
        probabilities=made[0].probabilities,
        start=0.0,
        end=time,
        duration=time,
        speech=time,
        typicality=rng.random(),
        segments=tuple(made),
        envelope="".join(rng.choices(LEVELS, k=POINTS)),
    )


def write_many(path: Path, count: int, *, labels: Sequence[str] = EMOTIONS, segments: int = 3) -> Path:
    """Writes a page of `count` recordings in folders of a hundred; returns its path."""
    rng = random.Random(0)
    page = ReportPage(
        path,
        labels=labels,
        negative=[label for label in labels if label in NEGATIVE],
        description={**DESCRIPTION, "labels": list(labels)},
        truth={},
    )
    summary = BatchSummary(labels=tuple(labels))
    made = [make_prediction("", rng, labels, segments) for _ in range(min(count, 1_000))]
    for number in range(count):
        name = f"calls/{number // 100}/recording {number:04}.wav"
        row = replace(made[number % len(made)], file=name)
        page.add_recording(Recording(path=Path(name), name=name), [row])
        summary.add_recording((row,))
    page.save(summary, None)
    return path
