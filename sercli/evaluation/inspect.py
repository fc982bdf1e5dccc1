"""Inspection of an index before training, and its page."""

from collections.abc import Sequence
from pathlib import Path

from sercli.corpora.index import read_index
from sercli.errors import UsageError
from sercli.evaluation.index_statistics import Inspection, inspect_index
from sercli.evaluation.label_errors import read_label_errors
from sercli.files import write_by_rename, write_json
from sercli.page.render import render_page
from sercli.progress import Progress, follow_progress
from sercli.version import __version__

UNITS = {"duration": "s", "peak": "dB", "level": "dB", "snr": "dB", "clipped": "share", "silence": "share"}
MAX_SHOWN = 500  # names per list in a page


def inspect(
    index: Path | str = "data/index.csv",
    store: Path | str | None = None,
    results: Path | str | None = None,
    out: Path | str | None = None,
    *,
    corpora: Sequence[str] | None = None,
    jobs: int = 1,
    progress: bool | Progress = False,
) -> Inspection:
    """Inspects an index before training: labels, speakers, levels, duplicates, folds and likely label errors.

    Example:
        ``inspect("data/index.csv", results="results/pooled-default", out="corpus.html").issues``

    Args:
        index: Index of utterances.
        store: Feature store of these utterances; None to skip it.
        results: Results folder of an evaluation, whose predictions reveal likely label errors, or None.
        out: Page (``.html``) or data (``.json``) to write; None to write neither.
        corpora: Corpora to use; None for all in the index.
        jobs: Number of recordings to decode in parallel.
        progress: True for a progress bar, or a function called with the number of recordings done and their total.

    Raises:
        UsageError: If `out` has another suffix.
        CorpusError: If the index is missing or damaged, or lacks a corpus.
        InputError: If the predictions are missing or damaged, or cover none of the recordings.
        StoreError: If the store is missing or damaged.
        OSError: If `out` cannot be written.
    """
    suffix = None if out is None else Path(out).suffix.lower()
    if suffix not in {None, ".html", ".json"}:
        msg = f"--out takes a name ending in .html or .json, found {str(out)!r}"
        raise UsageError(msg)
    rows = read_index(Path(index)).select(corpora)
    check = read_label_errors(Path(results), rows) if results else None
    with follow_progress("inspect", progress) as update:
        inspection = inspect_index(rows, store=Path(store) if store else None, check=check, jobs=jobs, progress=update)
    if out is not None and suffix == ".html":
        write_inspection_page(Path(out), inspection)
    elif out is not None:
        write_json(Path(out), inspection.to_dict())
    return inspection


def write_inspection_page(path: Path, inspection: Inspection) -> None:
    """Writes an inspection as a self-contained HTML page, atomically."""
    page = render_page(
        "inspection.html",
        scripts=(),
        data={},
        labels=list(inspection.labels),
        inspection=inspection.to_dict(),
        units=UNITS,
        shown=MAX_SHOWN,
        version=__version__,
    )
    with write_by_rename(path) as stream:
        stream.write(page)
