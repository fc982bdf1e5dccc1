"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: the songs.

Origin: Livingstone & Russo 2018, https://doi.org/10.1371/journal.pone.0196391. The actors of the corpus ``ravdess``
sing the same two sentences; actor 18 does not. They keep their speaker names, so that no split has one person on two
sides. Singing is not speech: the two are never mixed unless both corpora are named.

Annotation: the emotion that the actor was asked for, in the file name. Six emotions in two intensities (neutral in
one), each sung twice; no disgust and no surprised.

Counts: 1,012 recordings, 44 per actor, 48 kHz, 16 bit; 92 neutral, 184 of each other emotion.

License: CC BY-NC-SA 4.0. Download: https://zenodo.org/records/1188976 (``Audio_Song_Actors_01-24.zip``).

Protocols: none of its own; ``loso``, ``k`` folds, ``pooled`` and ``cross``.
"""

from functools import partial

from sercli.corpora.corpus import Corpus, LabeledRecordings, PinnedFile, Source, label_by_name
from sercli.corpora.datasets import ravdess
from sercli.labels import EMOTIONS

NAME = "ravdess-song"
SUNG = 6  # emotions, the first of RAVDESS

parse_name = partial(ravdess.parse_name, channel=ravdess.SONG, emotions=SUNG)


def label(source: Source) -> LabeledRecordings:
    """Labels recordings by their names and lists which of the 1,012 are missing."""
    return label_by_name(source, parse_name, ravdess.list_names(ravdess.SONG, SUNG, without="18"))


CORPUS = Corpus(
    name=NAME,
    title="RAVDESS, song",
    language="English",
    citation=ravdess.CORPUS.citation,
    license=ravdess.CORPUS.license,
    page=ravdess.CORPUS.page,
    label_map=dict(list(ravdess.LABEL_MAP.items())[:SUNG]),
    label=label,
    counts={emotion: 92 if emotion == "neutral" else 184 for emotion in EMOTIONS[:SUNG]},
    speakers=23,
    hours=1.3,
    archive=PinnedFile(
        url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
        name="Audio_Song_Actors_01-24.zip",
        size=225_505_317,
        md5="5411230427d67a21e18aa4d466e6d1b9",
    ),
)
