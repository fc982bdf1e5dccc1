"""Decoding recordings whole, before they are let into the index."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sercli.audio.decode import AudioFacts, read_facts
from sercli.corpora.base import Fields
from sercli.corpora.index import Utterance
from sercli.errors import AudioError
from sercli.files import hash_file, one_line
from sercli.parallel import map_in_threads


def inspect_recordings(paths: Sequence[Path], jobs: int) -> Iterator[tuple[AudioFacts, str] | str]:
    """Decodes whole recordings side by side, in threads since decoding lets go of the interpreter.

    Yields:
        for each path in order: its facts and the SHA-256 of its bytes, or the reason why it cannot be used.
    """
    yield from map_in_threads(_inspect, paths, jobs=jobs)


def _inspect(path: Path) -> tuple[AudioFacts, str] | str:
    try:
        return read_facts(path), hash_file(path)
    except (AudioError, OSError) as reason:
        return one_line(reason)


def make_row(name: str, corpus: str, fields: Fields, facts: AudioFacts, sha256: str) -> Utterance:
    """The row of the index for a recording that is known under `name` there."""
    return Utterance(
        file=name,
        corpus=corpus,
        speaker=fields.speaker,
        gender=fields.gender,
        emotion=fields.emotion,
        intensity=fields.intensity,
        statement=fields.statement,
        repetition=fields.repetition,
        duration=facts.duration,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        sha256=sha256,
        extra=fields.extra,
    )
