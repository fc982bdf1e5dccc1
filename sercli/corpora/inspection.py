"""Decodes recordings completely before they enter the index."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sercli.audio.decode import AudioFacts, read_facts
from sercli.corpora.corpus import Annotation
from sercli.corpora.index import Utterance
from sercli.corpora.placeholders import describe_placeholder
from sercli.errors import AudioError
from sercli.files import hash_file, one_line
from sercli.parallel import map_in_threads


def inspect_recordings(paths: Sequence[Path], jobs: int) -> Iterator[tuple[AudioFacts, str] | str]:
    """Decodes recordings in parallel, in threads because decoding releases the GIL.

    Yields:
        For each path in order, its facts and the SHA-256 of its bytes, or why it cannot be used.
    """
    yield from map_in_threads(_inspect, paths, jobs=jobs)


def _inspect(path: Path) -> tuple[AudioFacts, str] | str:
    try:
        return read_facts(path), hash_file(path)
    except (AudioError, OSError) as reason:
        return describe_placeholder(path) or one_line(reason)


def make_row(name: str, corpus: str, annotation: Annotation, facts: AudioFacts, sha256: str) -> Utterance:
    """Makes the row of the index for the recording that has this name there."""
    return Utterance(
        file=name,
        corpus=corpus,
        speaker=annotation.speaker,
        gender=annotation.gender,
        emotion=annotation.emotion,
        intensity=annotation.intensity,
        statement=annotation.statement,
        repetition=annotation.repetition,
        duration=facts.duration,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        sha256=sha256,
        extra=annotation.extra,
    )
