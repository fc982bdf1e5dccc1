"""Duplicate detection, so that copies of one sound never end up on both sides of a split."""

from collections.abc import Mapping
from dataclasses import replace

from scipy.cluster.hierarchy import DisjointSet

from sercli.corpora.index import Index


def mark_duplicates(index: Index, digests: Mapping[str, str]) -> Index:
    """Returns the index with `duplicate_of` of each row naming the first row with the same sound.

    Two rows have the same sound if their decoded samples are equal, as far as the digests are known, or their
    files are, also in different corpora. Duplicates marked by earlier runs stay marked, also if the row that
    they duplicate is gone.

    Args:
        index: Rows, in the order that decides which is first.
        digests: Digest of the decoded samples by `file`, for the rows of this run.
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
    originals = [first[groups[f"row {row.file}"]] for row in index.utterances]
    rows = tuple(
        replace(row, duplicate_of=original if original != row.file else "")
        for row, original in zip(index.utterances, originals, strict=True)
    )
    return replace(index, utterances=rows)
