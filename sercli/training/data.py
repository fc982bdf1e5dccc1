"""Features of a corpus as padded batches on a device.

Batches are read from the feature store when they are needed, so that corpora of any size can be trained on.
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

BUCKET_BATCHES = 16  # batches per length-sorted bucket, to reduce padding


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What a training run, an evaluation or a search will not use, known before the first epoch.

    Attributes:
        missing: Files of the index that are not in the store.
        left_out: Number of utterances marked ``test`` in the index, and of their duplicates.
        known_speakers: Corpora of which no speaker is held out.
    """

    missing: tuple[str, ...]
    left_out: int = 0
    known_speakers: tuple[str, ...] = ()


class CorpusFeatures:
    """Features of indexed utterances and their augmented copies, in a store; a context manager.

    Args:
        index: Utterances to look up in the store.
        store: Store of their features; opened separately, so the caller may close it.
        names: Names of the features to read.
        copies: Number of augmented copies that each utterance must have.

    Attributes:
        index: Utterances that are in the store.
        labels: Labels of these utterances, in the order of `sercli.labels.order_labels`.
        missing: Files that are in the index but not in the store.
        names: Names of the features.
        parameters: Parameters of the features.

    Raises:
        StoreError: If the store is missing or damaged, has none of the utterances, or lacks features or copies of some;
            the message names the command that adds them.
    """

    def __init__(self, index: Index, store: FeatureStore | Path, names: tuple[str, ...], *, copies: int = 0) -> None:
        self.names = names
        self._store = FeatureStore(store if isinstance(store, Path) else store.path)
        try:
            self._rows = _list_copies(self._store)
            self.missing = tuple(u.file for u in index.utterances if u.sha256 not in self._rows)
            present = tuple(u for u in index.utterances if u.sha256 in self._rows)
            if not present:
                msg = f"{self._store.path} has no utterance of the index: run 'sercli featurize'"
                raise StoreError(msg)
            self.index = Index(folder=index.folder, utterances=present)
            self.labels = self.index.labels
            self._require_features(copies)
            self.parameters = self._store.parameters.select(names)
            self._lengths = self._store.count_frames(names[0])
            for position in range(len(present)):
                self.list_copies(position, copies)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Returns the features."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        """Closes the store."""
        self.close()

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def _require_features(self, copies: int) -> None:
        for name in self.names:
            n_lacking = len(self.index)
            if name in self._store.parameters.names:
                frames = self._store.count_frames(name)
                n_lacking = sum(not frames[self._rows[u.sha256][0].start] for u in self.index.utterances)
            if n_lacking:
                msg = (
                    f"{self._store.path} lacks {name} of {n_lacking} of {len(self.index)} utterances: add it with "
                    f"'{_suggest_command(self.names, copies)}'"
                )
                raise StoreError(msg)

    def list_copies(self, position: int, copies: int = 0) -> list[range]:
        """Lists the store rows of an utterance and its first augmented copies.

        Args:
            position: Position in the index.
            copies: Number of copies.

        Returns:
            Rows of the segments of the utterance, then of each copy.

        Raises:
            StoreError: If the store has fewer copies, or lacks features of one.
        """
        utterance = self.index.utterances[position]
        rows_by_copy = self._rows[utterance.sha256][: copies + 1]
        complete = [rows for rows in rows_by_copy if all(self._store.has(name, rows.start) for name in self.names)]
        if len(complete) <= copies:
            msg = (
                f"{self._store.path} has {len(complete) - 1} of {copies} augmented copies of {utterance.file}: add "
                f"them with '{_suggest_command(self.names, copies)}'"
            )
            raise StoreError(msg)
        return complete

    def describe(self, position: int, *, copies: int, masked: bool) -> list[str]:
        """Lists what identifies an utterance as training data: hash, label and augmented copies.

        Args:
            position: Position in the index.
            copies: Number of augmented copies to train on.
            masked: Whether the loss depends on the corpus, which then counts too.
        """
        utterance = self.index.utterances[position]
        augmented = [self._store.rows[rows.start].augmentation for rows in self.list_copies(position, copies)[1:]]
        return [utterance.sha256, utterance.emotion, *augmented, *([utterance.corpus] if masked else [])]

    def read(self, rows: range) -> npt.NDArray[np.float32]:
        """Reads and concatenates store rows; shape ``(n_frames, n_features)``."""
        parts = [self._store.read_frames(rows.start, rows.stop, name) for name in self.names]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def segments(self, position: int) -> list[tuple[HalfMatrix, float]]:
        """Reads the segments of an utterance for `Model.predict_proba`.

        Args:
            position: Position in the index.

        Returns:
            Features of shape ``(n_features, n_frames)`` and speech (s) of each segment.
        """
        (rows,) = self.list_copies(position)
        return [(self._store.read(row, self.names), self._store.rows[row].speech) for row in rows]

    def fit_normalizer(self, positions: Sequence[int]) -> Normalizer:
        """Fits mean and std of each feature to all frames of these utterances, without their copies."""
        return Normalizer.fit(self.read(rows) for position in positions for rows in self.list_copies(position))

    def batches(
        self, positions: Sequence[int], normalizer: Normalizer, *, copies: int = 0, device: torch.device
    ) -> "Batches":
        """Prepares batches of utterances; each segment is an example with the label of its utterance.

        Args:
            positions: Positions in the index.
            normalizer: Normalization of the features.
            copies: Number of augmented copies of each utterance to add.
            device: Device of the batches.

        Raises:
            StoreError: If the store has fewer copies.
        """
        pairs = [(n, row) for n in positions for rows in self.list_copies(n, copies) for row in rows]
        utterances = tuple(self.index.utterances[n] for n, _ in pairs)
        rows = np.array([row for _, row in pairs], dtype=np.int64)
        labeled = {(utterance.corpus, utterance.emotion) for utterance in self.index.utterances}
        allowed = {corpus: [(corpus, label) in labeled for label in self.labels] for corpus in self.index.corpora}
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


def _list_copies(store: FeatureStore) -> dict[str, list[range]]:
    """Lists store rows by hash: those of the utterance, then of each augmented copy."""
    rows: dict[str, list[range]] = {}
    for content, span in store.group_rows().items():
        if not content.augmentation:
            rows[content.sha256] = [span]
        elif content.sha256 in rows:
            rows[content.sha256].append(span)
    return rows


def _suggest_command(names: tuple[str, ...], copies: int) -> str:
    """Returns the command that computes these features and copies."""
    for recipe in RECIPES.values():
        if set(names) <= set(recipe.features) and copies <= recipe.training.copies:
            return "sercli featurize" if recipe.name == "default" else f"sercli featurize --recipe {recipe.name}"
    return "sercli featurize --recipe RECIPE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Examples with their labels, read and normalized batch by batch.

    Attributes:
        store: Store of the features.
        names: Names of the features to read.
        rows: Store row of each example, shape ``(n,)``.
        lengths: Number of frames of each example, shape ``(n,)``.
        labels: All labels, in order.
        truth: Label index of each example, shape ``(n,)``.
        allowed: Labels that the corpus of each example has, bool, shape ``(n, n_labels)``.
        utterances: Utterance of each example.
        mean: Mean of each feature, on the device of the batches.
        std: Std of each feature, on the device of the batches.
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
        """Returns the number of examples, including those of copies."""
        return len(self.rows)

    def count_batches(self, batch_size: int) -> int:
        """Returns the number of batches per epoch."""
        return -(-len(self) // batch_size)

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Iterates over all examples in random batches of similar length; skips batches of a single example.

        Args:
            batch_size: Examples per batch.
            generator: Random generator of the order.

        Yields:
            Features ``(batch, n_features, n_frames)``, lengths ``(batch,)``, truth ``(batch,)`` and allowed labels
            ``(batch, n_labels)``.
        """
        order = torch.randperm(len(self), generator=generator).tolist()
        span = batch_size * BUCKET_BATCHES
        batches: list[list[int]] = []
        for start in range(0, len(order), span):
            bucket = sorted(order[start : start + span], key=self._length)
            batches += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
        # Batch normalization needs more than one example.
        batches = [batch for batch in batches if len(batch) > 1] or batches
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield (*self._load(batches[number]), self.truth[batches[number]], self.allowed[batches[number]])

    def in_order(self, batch_size: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Iterates over all examples by length.

        Yields:
            Example numbers, features ``(batch, n_features, n_frames)`` and lengths ``(batch,)``.
        """
        order = sorted(range(len(self)), key=self._length)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            yield (batch, *self._load(batch))

    def _length(self, number: int) -> int:
        return int(self.lengths[number])

    def _load(self, batch: list[int]) -> tuple[Tensor, Tensor]:
        """Returns normalized features, ``(batch, n_features, n_frames)``, zero beyond each length; and lengths."""
        lengths = self.lengths[batch]
        padded = np.zeros((len(batch), int(lengths.max()), len(self.mean)), np.float16)
        for frames, row, length in zip(padded, self.rows[batch].tolist(), lengths.tolist(), strict=True):
            frames[:length] = self.store.read(row, self.names).T
        n_frames = torch.from_numpy(lengths).to(self.mean.device)
        features = (torch.from_numpy(padded).to(self.mean.device).float() - self.mean) / self.std
        beyond = torch.arange(features.shape[1], device=features.device) >= n_frames[:, None]
        return features.masked_fill_(beyond[:, :, None], 0.0).transpose(1, 2), n_frames
