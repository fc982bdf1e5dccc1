"""An indexed toy corpus."""

from collections.abc import Sequence
from pathlib import Path

from sercli.corpora.index import Index, read_index
from sercli.corpora.prepare import Request, prepare_corpus
from sercli.corpora.registry import get_corpus
from sercli.features.extraction import extract_store
from sercli.features.parameters import StoreParameters
from tests.toy import make_ravdess


def index_toy(
    folder: Path,
    *,
    speakers: int = 6,
    emotions: Sequence[str] = ("neutral", "happy", "sad", "angry"),
    takes: int = 2,
    seconds: float = 0.6,
    seed: int = 0,
) -> Index:
    """Makes recordings below a folder and indexes all that lie there; 0 speakers only index anew."""
    recordings = folder / "recordings"
    if speakers:
        make_ravdess(recordings, speakers=speakers, emotions=emotions, takes=takes, seconds=seconds, seed=seed)
    request = Request(
        corpus=get_corpus("ravdess"),
        index=folder / "index.csv",
        data_dir=folder,
        source=recordings,
        force=True,
    )
    prepare_corpus(request)
    return read_index(folder / "index.csv")


def featurize_toy(folder: Path, *, takes: int, copies: int, seconds: float = 0.6) -> Path:
    """Makes and indexes recordings of six speakers, and a store of all their features beside; returns the folder."""
    index = index_toy(folder, speakers=6, takes=takes, seconds=seconds)
    extract_store(index, folder / "features.h5", StoreParameters(), copies=copies)
    return folder
