"""What a matrix in a store belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """One matrix of a store: of an utterance, or of an altered copy of one.

    Attributes:
        file: of the utterance, as in the index; for a copy, of its parent.
        sha256: of the utterance's file.
        alteration: how the copy differs; empty for the utterance itself.
    """

    file: str
    sha256: str
    alteration: str = ""

    @property
    def key(self) -> str:
        """Names the content: equal keys have equal features under equal parameters."""
        return f"{self.sha256} {self.alteration}"


def parse_key(key: str) -> StoredRow:
    """The row that a key stands for; the file's name is not in it."""
    sha256, _, alteration = key.partition(" ")
    return StoredRow(file="", sha256=sha256, alteration=alteration)
