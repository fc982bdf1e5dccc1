"""Utterances of a feature store as padded batches on a device, read when they are needed.

Nothing but the batch at hand is in memory, so that corpora of any size can be trained on; the operating system keeps
what it can of the store in its cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sercli.corpora.index import Index, Utterance
from sercli.errors import StoreError
from sercli.features.frontend import HalfMatrix
from sercli.features.store import FeatureStore
from sercli.models.normalizer import Normalizer
from sercli.training.recipe_files import RECIPES

BUCKET_BATCHES = 16  # batches whose utterances are sorted by length together, so that there is little padding


class CorpusFeatures:
    """Features of an index's utterances and their augmented copies, in a store; a context manager.

    Args:
        index: The utterances.
        store: Store of their features; it is opened anew, and may be closed or replaced meanwhile.
        names: Features to read.
        copies: Augmented copies that each utterance must have.

    Attributes:
        index: Those of the utterances that are in the store.
        labels: Their labels, in the order of `sercli.labels.order_labels`.
        missing: Files of those that are not.
        names: Features that are read.
        parameters: What they were computed with.

    Raises:
        StoreError: If the store is missing or damaged, holds none of the utterances, or lacks features or copies of
            some; the message names the command that adds them.
    """

    def __init__(self, index: Index, store: FeatureStore | Path, names: tuple[str, ...], *, copies: int = 0) -> None:
        self.names = names
        self._store = FeatureStore(store if isinstance(store, Path) else store.path)
        try:
            self._rows = _group_rows(self._store)
            self.missing = tuple(u.file for u in index.utterances if u.sha256 not in self._rows)
            present = tuple(u for u in index.utterances if u.sha256 in self._rows)
            if not present:
                msg = f"{self._store.path} holds none of the {len(index)} indexed utterances: run 'sercli featurize'"
                raise StoreError(msg)
            self.index = Index(folder=index.folder, utterances=present)
            self.labels = self.index.labels
            self._require_features(copies)
            self.parameters = self._store.parameters.select(names)
            self._lengths = self._store.count_frames(names[0])
            for member in range(len(present)):
                self.list_copies(member, copies)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Returns the features themselves."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the store."""
        self.close()

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def _require_features(self, copies: int) -> None:
        for name in self.names:
            lacking = len(self.index)
            if name in self._store.parameters.names:
                frames = self._store.count_frames(name)
                lacking = sum(not frames[self._rows[u.sha256][0].start] for u in self.index.utterances)
            if lacking:
                msg = (
                    f"{self._store.path} lacks {name} of {lacking} of {len(self.index)} utterances: add it with "
                    f"'{_name_command(self.names, copies)}'"
                )
                raise StoreError(msg)

    def list_copies(self, member: int, copies: int = 0) -> list[range]:
        """Lists the store rows of an utterance and of its first augmented copies.

        Args:
            member: Position in the index.
            copies: Number of copies.

        Returns:
            For the utterance, then each copy, the rows of its segments.

        Raises:
            StoreError: If the store has fewer copies, or lacks features of one.
        """
        utterance = self.index.utterances[member]
        rows = self._rows[utterance.sha256][: copies + 1]
        complete = [each for each in rows if all(self._store.has(name, each.start) for name in self.names)]
        if len(complete) <= copies:
            msg = (
                f"{self._store.path} has {len(complete) - 1} of {copies} augmented copies of {utterance.file}: add "
                f"them with '{_name_command(self.names, copies)}'"
            )
            raise StoreError(msg)
        return complete

    def describe(self, member: int, *, copies: int) -> list[str]:
        """Lists what a training learns from an utterance: its content, its label and its augmented copies.

        Args:
            member: Position in the index.
            copies: Number of augmented copies that are trained on.
        """
        utterance = self.index.utterances[member]
        augmented = self.list_copies(member, copies)[1:]
        return [utterance.sha256, utterance.emotion, *(self._store.rows[rows.start].augmentation for rows in augmented)]

    def read(self, rows: range) -> npt.NDArray[np.float32]:
        """Reads store rows end to end, in shape ``(n_frames, n_features)``."""
        parts = [self._store.read_frames(rows.start, rows.stop, name) for name in self.names]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def segments(self, member: int) -> list[tuple[HalfMatrix, float]]:
        """Reads the segments of an utterance, as a model scores them.

        Args:
            member: Position in the index.

        Returns:
            Features in shape ``(n_features, n_frames)`` and speech (seconds) of each segment.
        """
        (rows,) = self.list_copies(member)
        return [(self._store.read(row, self.names), self._store.rows[row].speech) for row in rows]

    def fit_normalizer(self, members: Sequence[int]) -> Normalizer:
        """Measures mean and std of each feature over all frames of these utterances, without their copies."""
        return Normalizer.fit(self.read(rows) for member in members for rows in self.list_copies(member))

    def batches(
        self, members: Sequence[int], normalizer: Normalizer, *, copies: int = 0, device: torch.device
    ) -> "Batches":
        """Prepares batches of these utterances; each segment is an example with the label of its utterance.

        Args:
            members: Positions in the index.
            normalizer: Normalization of the features.
            copies: Number of augmented copies of each utterance that are added.
            device: Device of the batches.

        Raises:
            StoreError: If the store has fewer copies.
        """
        pairs = [(member, row) for member in members for rows in self.list_copies(member, copies) for row in rows]
        utterances = tuple(self.index.utterances[member] for member, _ in pairs)
        rows = np.array([row for _, row in pairs], dtype=np.int64)
        has = {(utterance.corpus, utterance.emotion) for utterance in self.index.utterances}
        allowed = {corpus: [(corpus, label) in has for label in self.labels] for corpus in self.index.corpora}
        return Batches(
            store=self._store,
            names=self.names,
            rows=rows,
            lengths=self._lengths[rows],
            labels=self.labels,
            truth=torch.tensor([self.labels.index(utterance.emotion) for utterance in utterances], device=device),
            allowed=torch.tensor([allowed[utterance.corpus] for utterance in utterances], device=device),
            utterances=utterances,
            mean=torch.from_numpy(normalizer.mean).to(device),
            std=torch.from_numpy(normalizer.std).to(device),
        )


def _group_rows(store: FeatureStore) -> dict[str, list[range]]:
    """Store rows of each content by hash: those of the utterance itself, then of each augmented copy."""
    rows: dict[str, list[range]] = {}
    augmentation = None
    for number, row in enumerate(store.rows):
        copies = rows.setdefault(row.sha256, [])
        if row.segment and copies and row.augmentation == augmentation:
            copies[-1] = range(copies[-1].start, number + 1)
        else:
            copies.append(range(number, number + 1))
        augmentation = row.augmentation
    return {sha256: copies for sha256, copies in rows.items() if not store.rows[copies[0].start].augmentation}


def _name_command(names: tuple[str, ...], copies: int) -> str:
    """The command that computes these features and copies."""
    for recipe in RECIPES.values():
        if set(names) <= set(recipe.features) and copies <= recipe.training.copies:
            return "sercli featurize" if recipe.name == "default" else f"sercli featurize --recipe {recipe.name}"
    return "sercli featurize --recipe RECIPE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Examples with their labels, read and normalized batch by batch.

    Attributes:
        store: Store of the features.
        names: Features to read.
        rows: Store row of each example in shape ``(n,)``.
        lengths: Frames of each example in shape ``(n,)``.
        labels: Labels in order.
        truth: Position of each example's label in shape ``(n,)``.
        allowed: Labels that the corpus of each example has, bool in shape ``(n, n_labels)``.
        utterances: The utterance that each example is a segment of.
        mean: Mean of each feature, on the device of the batches.
        std: Standard deviation of each feature, likewise.
    """

    store: FeatureStore
    names: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    truth: Tensor
    allowed: Tensor
    utterances: tuple[Utterance, ...]
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        """Number of examples, those of copies included."""
        return len(self.rows)

    def count_batches(self, batch_size: int) -> int:
        """Counts the batches of `shuffled`, where none is left out."""
        return -(-len(self) // batch_size)

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Iterates over all examples in random batches of similar length; a batch of a single example is left out.

        Args:
            batch_size: Examples per batch.
            generator: Decides the order.

        Yields:
            features ``(batch, n_features, n_frames)``, lengths ``(batch,)``, truth ``(batch,)``, and allowed labels
            ``(batch, n_labels)``.
        """
        order = torch.randperm(len(self), generator=generator).tolist()
        span = batch_size * BUCKET_BATCHES
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            bucket = sorted(order[start : start + span], key=self._length)
            batches += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
        # Batch normalization cannot learn from a single example.
        batches = [batch for batch in batches if len(batch) > 1] or batches
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield (*self._load(batches[number]), self.truth[batches[number]], self.allowed[batches[number]])

    def in_order(self, batch_size: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Iterates over all examples by length.

        Yields:
            positions, features ``(batch, n_features, n_frames)`` and lengths ``(batch,)``.
        """
        order = sorted(range(len(self)), key=self._length)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield (batch, *self._load(batch))

    def _length(self, number: int) -> int:
        return int(self.lengths[number])

    def _load(self, batch: list[int]) -> tuple[Tensor, Tensor]:
        """Normalized features, zero beyond each length, in shape ``(batch, n_features, n_frames)``; and lengths."""
        lengths = self.lengths[batch]
        padded = np.zeros((len(batch), int(lengths.max()), len(self.mean)), np.float16)
        for frames, row, length in zip(padded, self.rows[batch].tolist(), lengths.tolist(), strict=True):
            frames[:length] = self.store.read(row, self.names).T
        n_frames = torch.from_numpy(lengths).to(self.mean.device)
        features = (torch.from_numpy(padded).to(self.mean.device).float() - self.mean) / self.std
        beyond = torch.arange(features.shape[1], device=features.device) >= n_frames[:, None]
        return features.masked_fill_(beyond[:, :, None], 0.0).transpose(1, 2), n_frames
