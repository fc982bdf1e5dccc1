"""Utterances of a store as padded batches on a device."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sercli.corpora.index import Index, Utterance
from sercli.errors import StoreError
from sercli.features.store import FeatureStore
from sercli.labels import emotion_index
from sercli.models.normalizer import Normalizer

BUCKET_BATCHES = 16  # batches whose utterances are sorted by length together, so that padding stays small


class CorpusFeatures:
    """The wanted features of an index's utterances and their altered copies, in memory.

    Args:
        index: the utterances.
        store: their features.
        names: of the features wanted.

    Attributes:
        index: those of the utterances that are in the store.
        missing: files that are not in it.
    """

    def __init__(self, index: Index, store: FeatureStore, names: tuple[str, ...]) -> None:
        self.rows_of: Mapping[str, list[int]] = _rows_by_content(store)
        self.missing = tuple(u.file for u in index.utterances if u.sha256 not in self.rows_of)
        present = tuple(u for u in index.utterances if u.sha256 in self.rows_of)
        if not present:
            msg = f"{store.path} holds none of the {len(index)} indexed utterances: run 'sercli featurize'"
            raise StoreError(msg)
        self.index = Index(folder=index.folder, utterances=present)
        self.parameters = store.parameters
        self._alterations = [row.alteration for row in store.rows]
        self.names = names
        # As stored, in half the memory, and only the features wanted; `matrix` widens what is asked for.
        self._frames = store.read_stored(0, len(store))[:, store.parameters.features.rows(names)]
        self._stops = np.cumsum(store.n_frames)
        self._starts = self._stops - store.n_frames

    def originals(self, members: Sequence[int]) -> list[int]:
        """Store rows of the utterances themselves."""
        return [self.rows_of[self.index.utterances[member].sha256][0] for member in members]

    def with_copies(self, members: Sequence[int], copies: int) -> list[tuple[int, int]]:
        """Pairs of member and store row: the utterance itself and at most `copies` altered copies."""
        return [
            (member, row)
            for member in members
            for row in self.rows_of[self.index.utterances[member].sha256][: copies + 1]
        ]

    def describe(self, member: int, *, copies: int) -> list[str]:
        """Everything a training learns from an utterance: its content, its label and its augmented copies.

        Args:
            member: position in the index.
            copies: altered copies that are trained on, at most.
        """
        utterance = self.index.utterances[member]
        alterations = [self._alterations[row] for _, row in self.with_copies([member], copies)]
        return [utterance.sha256, utterance.emotion, *alterations]

    def matrix(self, row: int) -> npt.NDArray[np.float32]:
        """The wanted features of a store row, in shape ``(n_frames, n_features)``."""
        return self._frames[self._starts[row] : self._stops[row]].astype(np.float32)

    def segments(self, member: int) -> list[tuple[npt.NDArray[np.floating[Any]], float]]:
        """Segments of an utterance: features of shape ``(n_features, n_frames)``, and seconds of speech."""
        (row,) = self.originals([member])
        frames = self._frames[self._starts[row] : self._stops[row]]
        features = self.parameters.features
        return [(frames.T, len(frames) * features.hop_length / features.sample_rate)]

    def fit_normalizer(self, members: Sequence[int]) -> Normalizer:
        """Mean and deviation of each feature over the frames of these utterances, without their copies."""
        return Normalizer.fit(self.matrix(row) for row in self.originals(members))

    def batches(
        self,
        members: Sequence[int],
        normalizer: Normalizer,
        *,
        copies: int = 0,
        device: torch.device,
    ) -> "Batches":
        """These utterances, with copies if wanted, normalised and ready for a network.

        Args:
            members: positions in the index.
            normalizer: of the features.
            copies: altered copies of each that are taken too.
            device: to put them on.
        """
        pairs = self.with_copies(members, copies)
        utterances = [self.index.utterances[member] for member, _ in pairs]
        return Batches(
            frames=[torch.from_numpy(normalizer.apply(self.matrix(row))).to(device) for _, row in pairs],
            truth=torch.tensor([emotion_index(u.emotion) for u in utterances], device=device),
            utterances=tuple(utterances),
        )


def find_missing(index: Index, path: Path) -> list[str]:
    """Files of an index that a store has no features of.

    Raises:
        StoreError: if the store is missing or damaged.
    """
    with FeatureStore(path) as store:
        known = {row.sha256 for row in store.rows if not row.alteration}
    return [utterance.file for utterance in index.utterances if utterance.sha256 not in known]


def _rows_by_content(store: FeatureStore) -> dict[str, list[int]]:
    """Store rows of each content, the unaltered one first."""
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for number, row in enumerate(store.rows):
        rows[row.sha256].setdefault(row.alteration, number)
    return {sha256: [found.pop(""), *found.values()] for sha256, found in rows.items() if "" in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Normalised utterances with their truth.

    Attributes:
        frames: one tensor each, in shape ``(n_frames, n_features)``.
        truth: positions of the emotions, in shape ``(n,)``.
        utterances: what each is, or is a copy of.
    """

    frames: list[Tensor]
    truth: Tensor
    utterances: tuple[Utterance, ...]

    def __len__(self) -> int:
        """Number of utterances, copies included."""
        return len(self.frames)

    def count_batches(self, batch_size: int) -> int:
        """Batches that `shuffled` makes, but for one of a single utterance."""
        return -(-len(self) // batch_size)

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Every utterance once, in random batches of similar length; but for one that would be a batch of its own.

        Args:
            batch_size: utterances in each.
            generator: of the order.

        Yields:
            features ``(batch, n_features, n_frames)``, lengths ``(batch,)`` and truth ``(batch,)``.
        """
        order = torch.randperm(len(self), generator=generator).tolist()
        span = batch_size * BUCKET_BATCHES
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            bucket = sorted(order[start : start + span], key=self._length)
            batches += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
        # Batch normalisation cannot learn from a batch of one.
        batches = [batch for batch in batches if len(batch) > 1] or batches
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield (*self._pad(batches[number]), self.truth[batches[number]])

    def in_order(self, batch_size: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Every utterance once, by length.

        Yields:
            positions, features ``(batch, n_features, n_frames)`` and lengths ``(batch,)``.
        """
        order = sorted(range(len(self)), key=self._length)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield (batch, *self._pad(batch))

    def _length(self, number: int) -> int:
        return len(self.frames[number])

    def _pad(self, batch: list[int]) -> tuple[Tensor, Tensor]:
        frames = [self.frames[number] for number in batch]
        lengths = torch.tensor([len(matrix) for matrix in frames], device=frames[0].device)
        return torch.nn.utils.rnn.pad_sequence(frames, batch_first=True).transpose(1, 2), lengths
