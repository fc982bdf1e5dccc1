"""Feature stores of seeded numbers, and a long recording."""

from pathlib import Path

import numpy as np

from sercli.audio.augment import Augmentation
from sercli.corpora.index import Index, Utterance
from sercli.features.frontend import FEATURES, FeatureConfig, HalfMatrix
from sercli.features.parameters import StoreParameters
from sercli.features.store import Content, FeatureStore
from sercli.features.utterance import Copy, Extracted, SegmentSpan
from sercli.features.writer import StoreWriter
from sercli.files import hash_file
from tests.sounds import make_tone, write_sound

PARAMETERS = StoreParameters(features=FeatureConfig(names=("rms", "zcr")))
Lengths = list[list[int]]
"""Frames of each segment of each utterance."""


def name_content(number: int, augmentation: str = "") -> Content:
    return Content(f"{number:064x}", augmentation)


def name_file(number: int) -> str:
    return f'Ordner {number}/ä,"\n.wav'


def make_matrix(number: int, segment: int, name: str, frames: int) -> HalfMatrix:
    """Seeded numbers in shape ``(n_frames, 1)``."""
    seed = [number, segment, list(FEATURES).index(name)]
    return np.random.default_rng(seed).standard_normal((frames, 1)).astype(np.float16)


def make_extracted(
    number: int, lengths: list[int], names: tuple[str, ...] = ("rms", "zcr"), augmentation: Augmentation | None = None
) -> Extracted:
    data = b"".join(
        make_matrix(number, segment, name, frames).tobytes() for segment, frames in enumerate(lengths) for name in names
    )
    segments = tuple(SegmentSpan(float(n), n + 1.0, 0.5, frames) for n, frames in enumerate(lengths))
    return Extracted(copy=Copy(augmentation=augmentation, names=names), segments=segments, data=data)


def write_store(path: Path, lengths: Lengths, parameters: StoreParameters = PARAMETERS) -> None:
    with StoreWriter(path, parameters) as writer:
        for number, frames in enumerate(lengths):
            writer.add(name_content(number).sha256, make_extracted(number, frames, parameters.names))
        writer.finish([(name_content(number), name_file(number)) for number in range(len(lengths))])


def assert_same_stores(one: Path, other: Path) -> None:
    with FeatureStore(one) as first, FeatureStore(other) as second:
        assert first.rows
        assert first.rows == second.rows
        assert first.parameters == second.parameters
        for number in range(len(first)):
            np.testing.assert_array_equal(first.read(number), second.read(number))


def read_all(path: Path) -> tuple[list[str], list[HalfMatrix]]:
    """Returns file and augmentation of every row, and its features."""
    with FeatureStore(path) as store:
        names = [f"{row.file} {row.augmentation}" for row in store.rows]
        return names, [store.read(number) for number in range(len(store))]


def write_long(path: Path, seconds: float) -> Index:
    """A recording with a pause every two seconds, and its index."""
    tone = make_tone(seconds=seconds)[:, 0]
    tone[np.arange(len(tone)) % 32_000 < 12_000] *= 1e-3
    write_sound(path, tone)
    utterance = Utterance(file=path.name, corpus="csv", emotion="happy", sha256=hash_file(path))
    return Index(folder=path.parent, utterances=(utterance,))
