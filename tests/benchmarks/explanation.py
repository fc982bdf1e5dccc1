"""Whether an explanation points at a clip of one emotion between two calm ones of the same actor.

``python -m tests.benchmarks.explanation data/ravdess`` joins clips of the development speakers of the model that comes
with sercli and prints which share of the attention and of the attribution the clip has, as recorded and with all clips
equally loud.
"""

import itertools
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from rich.console import Console

from sercli.audio.decode import read_signal
from sercli.audio.preprocess import resample, to_mono
from sercli.models.folder import DEFAULT_MODEL
from sercli.models.model import Model, load_model
from sercli.prediction.explain import explain

RATE = 16_000
ACTORS = ("07", "14")  # development speakers of the model that comes with sercli
CODES = {"happy": "03", "sad": "04", "angry": "05", "fearful": "06", "disgust": "07", "surprised": "08"}
PLACES = range(3)
MARGIN = 0.1  # seconds before and after the clip that count as it
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the explanation of a joined sound says of the clip that is not calm.

    Attributes:
        emotion: The answer for the whole sound.
        time: Share of the sound that is the clip.
        attention: Share of the attention that it has.
        attribution: Share of positive attribution that it has.
        strongest: Whether the cell with the highest attribution is in it.
    """

    emotion: str
    time: float
    attention: float
    attribution: float
    strongest: bool


def main() -> None:
    """Prints the shares."""
    console = Console(soft_wrap=True, highlight=False)
    ravdess, model = Path(sys.argv[1]), load_model(DEFAULT_MODEL)
    with tempfile.TemporaryDirectory() as name:
        for loudness in (None, 0.05):
            found, right = [], []
            for actor, sentence, emotion, place in itertools.product(ACTORS, (1, 2), CODES, PLACES):
                clips = join_clips(ravdess, actor, emotion, place, sentence=sentence, loudness=loudness)
                found.append(find_clip(Path(name, "sound.wav"), clips, place, model))
                right += [found[-1]] if found[-1].emotion == emotion else []
            console.print(f"{'as recorded' if loudness is None else 'equally loud'}: {_describe(found)}")
            console.print(f"  of these where its emotion is the answer: {_describe(right)}")


def join_clips(
    ravdess: Path, actor: str, emotion: str, place: int, *, sentence: int = 1, loudness: float | None = None
) -> list[Array]:
    """Reads a strong clip of an emotion and two calm ones, in the order in which they are to be heard.

    Args:
        ravdess: Folder of RAVDESS.
        actor: Two digits.
        emotion: A key of `CODES`.
        place: Position of the clip, 0 to 2.
        sentence: Sentence of the clip, 1 or 2.
        loudness: Root mean square of each clip; None leaves them as they were recorded.
    """
    names = ["02-01-01-01", "02-01-02-01"]
    names.insert(place, f"{CODES[emotion]}-02-0{sentence}-01")
    clips = [_read_clip(next(ravdess.rglob(f"03-01-{name}-{actor}.*"))) for name in names]
    return clips if loudness is None else [clip * loudness / np.sqrt(np.mean(clip**2)) for clip in clips]


def find_clip(path: Path, clips: Sequence[Array], place: int, model: Model | Path = DEFAULT_MODEL) -> Found:
    """Writes the joined clips to a file, and measures what the explanation says of one of them."""
    soundfile.write(path, np.concatenate(clips), RATE)
    found = explain(path, model)
    (segment,) = found.segments
    start, end = (sum(map(len, clips[:n])) / RATE - segment.start for n in (place, place + 1))
    length = segment.end - segment.start
    attribution = segment.attribution.sum(axis=0)
    strongest = (segment.attribution.max(axis=0).argmax() + 0.5) * length / len(attribution)
    shares = [share_between(values, start, end, length) for values in (np.ones(100), segment.attention[0], attribution)]
    return Found(
        emotion=found.emotion,
        time=shares[0],
        attention=shares[1],
        attribution=shares[2],
        strongest=bool(start - MARGIN < strongest < end + MARGIN),
    )


def share_between(values: Array, start: float, end: float, length: float) -> float:
    """Share of what is above 0 in some seconds, give or take `MARGIN`, of a sound of a length (s)."""
    times = (np.arange(len(values)) + 0.5) * length / len(values)
    above = np.maximum(values, 0)
    return float(above[(times > start - MARGIN) & (times < end + MARGIN)].sum() / above.sum())


def _read_clip(path: Path) -> Array:
    """Reads a clip with 50 ms of the silence around it."""
    signal, rate = read_signal(path)
    mono = resample(to_mono(signal), rate, RATE).astype(np.float64)
    (loud,) = np.nonzero(np.abs(mono) > 0.05 * np.abs(mono).max())
    clip: Array = mono[loud[0] - RATE // 20 : loud[-1] + RATE // 20]
    return clip


def _describe(found: Sequence[Found]) -> str:
    means = [np.mean([getattr(each, name) for each in found]) for name in ("time", "attention", "attribution")]
    names = ("of the time", "of the attention", "of positive attribution")
    shares = ", ".join(f"{mean:.0%} {name}" for mean, name in zip(means, names, strict=True))
    return f"{len(found)} sounds: {shares}, strongest cell in {np.mean([each.strongest for each in found]):.0%}"


if __name__ == "__main__":
    main()
