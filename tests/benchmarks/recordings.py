"""The recordings that benchmarks run on: real ones where they are, else made ones."""

import os
from pathlib import Path

import soundfile

from tests.sounds import write_tone

CORPORA = Path(os.environ.get("SERCLI_CORPORA") or Path(__file__).parents[3] / "shared" / "corpora")


def copy_recordings(folder: Path, count: int) -> list[Path]:
    """Writes `count` recordings of RAVDESS as 48 kHz 16-bit WAV, the form the corpus is distributed in.

    Without the corpus, uses tones with the same format and mean length instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted((CORPORA / "ravdess").rglob("*.flac"))
    if not found:
        return [
            write_tone(folder / f"{number:05}.wav", seconds=3.7, sample_rate=48_000, seed=number)
            for number in range(count)
        ]
    recordings = []
    for source in found[:: max(1, len(found) // count)][:count]:
        target = folder / f"{source.stem}.wav"
        samples, sample_rate = soundfile.read(source, dtype="int16")
        soundfile.write(target, samples, sample_rate)
        recordings.append(target)
    return recordings
