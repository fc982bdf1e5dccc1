"""The same sound twice: found, so that one copy is never trained on while the other is tested on."""

from collections.abc import Mapping
from dataclasses import replace

from sercli.corpora.index import Index, Utterance


def mark_duplicates(index: Index, digests: Mapping[str, str]) -> Index:
    """The index with `duplicate_of` of each row pointing to the first row of the same sound.

    Sound is the same when the decoded samples are, as far as their digests are known, or the files' bytes,
    which also tells across corpora. What is known of rows from earlier runs stays.

    Args:
        index: in its order, which says what is first.
        digests: of the decoded samples, by `file`, for the rows of this run.
    """
    first: dict[str, str] = {}
    sounds: dict[str, str] = {}
    rows: list[Utterance] = []
    for row in index.utterances:
        keys = [f"bytes {row.sha256}"] if row.sha256 else []
        if digest := digests.get(row.file):
            keys.append(f"sound {digest}")
        known = [first[key] for key in keys if key in first]
        if not digest and row.duplicate_of in sounds:
            known.append(sounds[row.duplicate_of])
        sounds[row.file] = known[0] if known else row.file
        for key in keys:
            first.setdefault(key, sounds[row.file])
        rows.append(replace(row, duplicate_of=known[0] if known else ""))
    return replace(index, utterances=tuple(rows))
