"""The same sound twice: found, so that one copy is never trained on while the other is tested on."""

from collections.abc import Mapping
from dataclasses import replace

from scipy.cluster.hierarchy import DisjointSet

from sercli.corpora.index import Index


def mark_duplicates(index: Index, digests: Mapping[str, str]) -> Index:
    """The index with `duplicate_of` of each row pointing to the first row of the same sound.

    Sound is the same when the decoded samples are, as far as their digests are known, or the files' bytes,
    which also tells across corpora. What is known of rows from earlier runs stays, also between copies of a row
    that is gone.

    Args:
        index: in its order, which says what is first.
        digests: of the decoded samples, by `file`, for the rows of this run.
    """
    groups: DisjointSet = DisjointSet()
    for row in index.utterances:
        digest = digests.get(row.file)
        keys = [f"bytes {row.sha256}"] if row.sha256 else []
        keys += [f"sound {digest}"] if digest else [f"row {row.duplicate_of}"] if row.duplicate_of else []
        groups.add(f"row {row.file}")
        for key in keys:
            groups.add(key)
            groups.merge(f"row {row.file}", key)
    first: dict[str, str] = {}
    for row in index.utterances:
        first.setdefault(groups[f"row {row.file}"], row.file)
    named = [(row, first[groups[f"row {row.file}"]]) for row in index.utterances]
    rows = tuple(replace(row, duplicate_of=name if name != row.file else "") for row, name in named)
    return replace(index, utterances=rows)
