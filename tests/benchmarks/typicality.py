"""How well typicality tells speech like the training data from other sounds.

``python -m tests.benchmarks.typicality data FOLDER...`` compares the development utterances of the model that comes
with sercli, whose index and store are in ``data``, with the recordings of each folder, as they are and through a
telephone. For each it prints the AUROC of typicality, of the maximum probability and of the energy score (Liu et al.
2020), and the share of recordings below the least typicality; first it prints the area under the risk-coverage curve of
each on the development utterances. ``--make FOLDER`` makes folders of espeak-ng voices, flite voices, noise, tones,
babble and speech in white noise, and ``--save`` writes the shares to the model card.
"""

import argparse
import contextlib
import itertools
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from rich.console import Console
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from sercli.audio.decode import read_signal
from sercli.audio.degradation import degrade
from sercli.audio.segmentation import Segment, segment_blocks
from sercli.corpora.index import read_index
from sercli.errors import AudioError
from sercli.features.frontend import extract_features
from sercli.files import write_json
from sercli.models.card import render_card
from sercli.models.folder import CARD_FILE, DEFAULT_MODEL, JSON_FILE, read_description
from sercli.models.model import Features, Model, average_segments, load_model
from sercli.splits.development import make_training_split
from sercli.training.data import CorpusFeatures

RATE = 16_000
N_SOUNDS = 60
VOICES = (
    "en-us",
    "en-gb",
    "en-us+f2",
    "en-us+m3",
    "en-gb+f4",
    "en-us+whisper",
    "de",
    "pl",
    "pl+f3",
    "it",
    "fr+f1",
    "es",
)
FLITE_VOICES = ("awb", "kal", "kal16", "rms", "slt")
SENTENCES = (
    "Kids are talking by the door.",
    "Please call me back as soon as you can.",
    "What a wonderful surprise!",
    "Where is my money? This is the third time I ask.",
    "Open the window, it is hot in here.",
)
NAMES = ("typicality", "maximum probability", "energy score")
Array = npt.NDArray[np.float64]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--make", type=Path)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    model = load_model(DEFAULT_MODEL)
    assert model.typicality
    index = read_index(options.data / "index.csv")
    with CorpusFeatures(index, options.data / "features.h5", model.features.names) as corpus:
        dev = make_training_split(corpus.index, model.facts["seed"]).dev
        usual, answers = measure(model, read_stored(corpus, dev))
        right = answers == [corpus.labels.index(corpus.index.utterances[member].emotion) for member in dev]
        clips = [corpus.index.folder / corpus.index.utterances[member].file for member in dev]
    console = Console(soft_wrap=True, highlight=False)
    console.print("area under the risk-coverage curve:")
    for name, scores in zip(NAMES, usual.T, strict=True):
        wrong = ~right[np.argsort(-scores, kind="stable")]
        console.print(f"  {name} {np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)):.3f}")
    folders = [*options.folders, *(make_sounds(options.make, clips) if options.make else ())]
    sounds = {each.name: sorted(path for path in each.rglob("*") if path.suffix in SUFFIXES) for each in folders}
    limit = -np.interp(1 - model.typicality.minimum, np.linspace(0, 1, 101), model.typicality.distances)
    flagged: dict[str, dict[str, float]] = defaultdict(dict)
    for name, degradation in itertools.product(("development utterances", *sounds), (None, "telephone")):
        other, _ = measure(model, read(model, sounds.get(name, clips), degradation))
        truth = np.repeat([1, 0], [len(usual), len(other)])
        areas = [roc_auc_score(truth, np.concatenate(each)) for each in zip(usual.T, other.T, strict=True)]
        shown = " ".join(f"{area:.3f}" for area in areas)
        share = flagged[name][degradation or "plain"] = round(float(np.mean(other[:, 0] < limit)), 3)
        unlike = f"unlike the training data {share:.0%}"
        console.print(f"{name}, {degradation or 'plain'}: {len(other)} recordings, AUROC {shown}, {unlike}")
    if options.save:
        description = {**read_description(DEFAULT_MODEL), "unlike_training_data": flagged}
        write_json(DEFAULT_MODEL / JSON_FILE, description)
        (DEFAULT_MODEL / CARD_FILE).write_text(render_card(description), encoding="utf-8")


SUFFIXES = {".wav", ".flac", ".ogg"}


def measure(model: Model, recordings: Iterable[tuple[Sequence[Features], Sequence[float]]]) -> tuple[Array, Array]:
    """Scores of recordings, higher for usual ones, in columns after `NAMES`, and the positions of their labels."""
    assert model.typicality
    rows, answers = [], []
    for matrices, speech in recordings:
        logits, embeddings = model.run(matrices)
        logits = average_segments(logits, speech)
        distance = average_segments(model.typicality.measure_distances(embeddings), speech)
        rows.append([-distance, model.probabilities(logits).max(), logsumexp(logits)])
        answers.append(int(logits.argmax()))
    return np.array(rows), np.array(answers)


def read_stored(corpus: CorpusFeatures, members: Iterable[int]) -> Iterator[tuple[list[Features], list[float]]]:
    """Features and speech (s) of the segments of utterances."""
    for member in members:
        matrices, speech = zip(*corpus.segments(member), strict=True)
        yield list(matrices), list(speech)


def read(model: Model, paths: Iterable[Path], degradation: str | None) -> Iterator[tuple[list[Features], list[float]]]:
    """Features and speech (s) of the segments of each recording in which there is something to score."""
    for path in paths:
        with contextlib.suppress(AudioError):
            signal, rate = read_signal(path)
            if degradation:
                signal, rate = degrade(signal, rate, degradation)
            blocks = [(signal.reshape(len(signal), -1), rate)]
            found = segment_blocks(lambda: blocks, model.audio, model.segmentation)  # noqa: B023 - read at once
            segments = [each for each in found if isinstance(each, Segment)]
            if segments:
                matrices = [extract_features(each.signal, model.features) for each in segments]
                yield matrices, [each.speech for each in segments]


def make_sounds(folder: Path, clips: Sequence[Path]) -> list[Path]:
    """Writes folders of sounds that are not the clear speech of one person; babble is of eight of the clips each."""
    generator = np.random.default_rng(0)
    names = (
        "espeak-ng voices",
        "flite voices",
        "amplitude-modulated noise",
        "amplitude-modulated tones",
        "babble",
        "speech in white noise, 0 dB",
    )
    folders = [folder / name for name in names]
    for each in folders:
        each.mkdir(parents=True, exist_ok=True)
    for number, (voice, sentence, stretch) in enumerate(itertools.product(FLITE_VOICES, SENTENCES, ("0.9", "1.2"))):
        out = str(folders[1] / f"{number}.wav")
        stretched = ["--setf", f"duration_stretch={stretch}"]
        subprocess.run(["flite", "-voice", voice, *stretched, "-t", sentence, "-o", out], check=True)
    for number in range(N_SOUNDS):
        pitch, speed = (str(generator.integers(*span)) for span in ((20, 90), (110, 220)))
        voice, sentence = VOICES[number % len(VOICES)], SENTENCES[number % len(SENTENCES)]
        out = str(folders[0] / f"{number}.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-p", pitch, "-s", speed, "-w", out, sentence], check=True)
        time = np.arange(3 * RATE) / RATE
        swell = 0.3 + np.abs(np.interp(time, np.linspace(0, 3, 20), generator.normal(size=20)))
        tone = sum(np.sin(2 * np.pi * generator.uniform(100, 900) * n * time) / n for n in range(1, 6))
        babble = sum(_loop(clip, len(time)) for clip in generator.choice(np.array(clips, object), 8))
        hiss = generator.normal(size=len(time))
        noisy = _loop(clips[int(generator.integers(len(clips)))], len(time)) + hiss
        for each, sound in zip(folders[2:], (swell * hiss, swell * tone, babble, noisy), strict=True):
            soundfile.write(each / f"{number}.wav", 0.5 * sound / np.abs(sound).max(), RATE)
    return folders


def _loop(path: Path, n_samples: int) -> Array:
    signal, rate = soundfile.read(path, always_2d=True)
    positions = np.arange(n_samples) * rate / RATE
    looped = np.interp(positions % len(signal), np.arange(len(signal)), signal.mean(axis=1))
    scaled: Array = looped / (looped.std() + 1e-9)
    return scaled


if __name__ == "__main__":
    main()
