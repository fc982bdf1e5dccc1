"""A trained model: maps the features of a recording's segments to calibrated probabilities, with ONNX Runtime.

This is the only place that applies a network: training calibrates with it, evaluation and prediction score with it.
Nothing here imports torch.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig, look_up
from sercli.errors import ModelError, UsageError
from sercli.features.frontend import FeatureConfig
from sercli.features.parameters import StoreParameters
from sercli.files import one_line, write_by_rename
from sercli.labels import select_labels
from sercli.metrics import Probabilities
from sercli.models.card import render_card
from sercli.models.folder import CARD_FILE, JSON_FILE, ONNX_FILE, SCHEMA_VERSION, WEIGHTS_FILE, read_description
from sercli.models.normalizer import Normalizer
from sercli.models.typicality import Typicality

BATCH_FRAMES = 1 << 12  # frames per batch, padding included; about 65 seconds
PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}
"""ONNX Runtime's provider for each device, fastest first; all but the last need another build of it."""

MIN_WEIGHT = 1e-3  # seconds; a segment without measured speech still has this weight

Features = npt.NDArray[np.floating[Any]]
"""Features of one segment, shape ``(n_features, n_frames)``."""

Logits = npt.NDArray[np.float64]
Embeddings = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network in ONNX with its preprocessing and calibration.

    Attributes:
        graph: ONNX model; see `sercli.models.export` for its inputs and outputs.
        labels: Label of each logit, in order.
        negative: Labels that count as negative.
        audio: Preprocessing parameters.
        segmentation: Segmentation parameters.
        features: Features computed from each segment.
        normalizer: Normalizer of the features.
        network: Parameters that the network was built from, JSON-ready.
        temperature: Divisor of the logits that calibrates the probabilities (Guo et al. 2017).
        typicality: Distances that a recording is compared with; None for a model without them.
        facts: How the model was made, JSON-ready: ``recipe``, ``training_data``, ``figures``, ``seed``, ``versions``,
            ``command``.
        device: Where the network runs, a key of `PROVIDERS`, or ``auto`` for the first available one.
    """

    graph: bytes
    labels: tuple[str, ...]
    audio: AudioConfig
    segmentation: SegmentationConfig
    features: FeatureConfig
    normalizer: Normalizer
    network: Mapping[str, Any]
    negative: tuple[str, ...] = ()
    temperature: float = 1.0
    typicality: Typicality | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    _kept: tuple[int, ...] | None = None

    @property
    def parameters(self) -> StoreParameters:
        """Preprocessing, segmentation and features, as those of a feature store."""
        return StoreParameters(audio=self.audio, segmentation=self.segmentation, features=self.features)

    def select(self, labels: Sequence[str]) -> "Model":
        """Restricts the model to some labels; their probabilities sum to 1.

        Raises:
            UsageError: If there are fewer than 2 labels, or the model lacks one.
        """
        names = select_labels(self.labels, labels)
        negative = tuple(label for label in self.negative if label in names)
        outputs = range(len(self.labels)) if self._kept is None else self._kept
        kept = tuple(outputs[self.labels.index(name)] for name in names)
        return replace(self, labels=names, negative=negative, _kept=kept)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime  # takes 100 ms; not needed to read a description

        options = onnxruntime.SessionOptions()
        # One thread: recordings are processed in parallel, and no thread pool has to survive a fork.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # keeps only the memory in use
        options.log_severity_level = 3
        # A graph may name files with its weights, relative to this folder: read none.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        provider = choose_provider(self.device, onnxruntime.get_available_providers())
        try:
            return onnxruntime.InferenceSession(self.graph, options, providers=[provider])
        except Exception as error:  # noqa: BLE001 - its exceptions share no base class
            msg = f"{ONNX_FILE} cannot be loaded ({one_line(error)[:200]}): train the model again"
            raise ModelError(msg) from None

    def logits(self, matrices: Sequence[Features]) -> Logits:
        """Runs the network on segments.

        Args:
            matrices: Features of each segment, not normalized.

        Returns:
            Logits, shape ``(n_segments, n_labels)``; the mean over the members of an ensemble.

        Raises:
            ModelError: If a logit is not finite, or the network cannot be computed.
        """
        return self.run(matrices, embed=False)[0]

    def run(self, matrices: Sequence[Features], *, embed: bool | None = None) -> tuple[Logits, Embeddings]:
        """Runs the network on segments, as `logits` does, and also returns their embeddings.

        Args:
            matrices: Features of each segment, not normalized.
            embed: Whether to compute embeddings; by default if the model has `typicality`.

        Returns:
            Logits, and embeddings of shape ``(n_segments, size)``; of size 0 if they are not computed.

        Raises:
            ModelError: If a logit is not finite, or the network cannot be computed.
        """
        columns = slice(None) if self._kept is None else list(self._kept)
        embed = self.typicality is not None if embed is None else embed
        outputs = ["logits", "embedding"] if embed else ["logits"]
        rows = np.empty((len(matrices), len(self.labels)))
        embeddings: list[Any] = [()] * len(matrices)
        for batch in _make_batches([matrix.shape[1] for matrix in matrices]):
            found = dict(zip(outputs, self._run([matrices[number] for number in batch], outputs), strict=True))
            rows[batch] = found["logits"][:, columns]
            for number, embedding in zip(batch, found.get("embedding", [()] * len(batch)), strict=True):
                embeddings[number] = embedding
        if not np.isfinite(rows).all():
            msg = "the network returned values that are not finite: train the model again"
            raise ModelError(msg)
        return rows, np.array(embeddings, np.float64)

    def attention(self, matrix: Features) -> npt.NDArray[np.float32]:
        """Computes the attention of each member over one segment, shape ``(n_members, n_steps)``; rows sum to 1.

        A step spans as many frames as the product of the network's strides over time.
        """
        (attention,) = self._run([matrix], ["attention"])
        weights: npt.NDArray[np.float32] = attention[0]
        return weights

    def _run(self, matrices: Sequence[Features], outputs: Sequence[str]) -> Any:
        n_frames = np.array([matrix.shape[1] for matrix in matrices], np.int64)
        batch = np.zeros((len(matrices), self.features.n_features, int(n_frames.max())), np.float32)
        for row, matrix in zip(batch, matrices, strict=True):
            row[:, : matrix.shape[1]] = self.normalizer.apply(matrix.T).T
        try:
            values = self._session.run(list(outputs), {"features": batch, "n_frames": n_frames})
        except Exception as reason:  # noqa: BLE001 - its exceptions share no base class
            msg = f"{ONNX_FILE} cannot be run ({one_line(reason)[:200]}): train the model again"
            raise ModelError(msg) from None
        declared = {tensor.name: [len(batch), *tensor.shape[1:]] for tensor in self._session.get_outputs()}
        for name, found in zip(outputs, values, strict=True):
            if not _has_shape(found, declared[name]):
                msg = f"output {name} of {ONNX_FILE} has another shape than it declares: train the model again"
                raise ModelError(msg)
        return values

    def probabilities(self, logits: Logits) -> Probabilities:
        """Converts logits to calibrated probabilities, along the last axis."""
        probabilities: Probabilities = softmax(logits / self.temperature, axis=-1)
        return probabilities

    def predict_proba(self, matrices: Sequence[Features], speech: Sequence[float]) -> Probabilities:
        """Computes the calibrated probabilities of one recording, shape ``(n_labels,)``.

        Args:
            matrices: Features of its segments, not normalized; at least one segment.
            speech: Speech in each segment (s).
        """
        return self.probabilities(average_segments(self.logits(matrices), speech))


def _has_shape(array: Any, shape: Sequence[int | str | None]) -> bool:
    """Whether an array has this shape, in which names and None stand for any size."""
    pairs = zip(np.shape(array), shape, strict=False)
    return np.ndim(array) == len(shape) and all(
        size == declared or not isinstance(declared, int) for size, declared in pairs
    )


def choose_provider(device: str, available: Sequence[str]) -> str:
    """Returns ONNX Runtime's provider for a device.

    Raises:
        UsageError: If this installation has none for it.
    """
    if device == "auto":
        return next(provider for provider in PROVIDERS.values() if provider in available)
    provider = look_up("device", device, PROVIDERS)
    if provider not in available:
        msg = f"this ONNX Runtime has no {provider} for the device {device}: install one that does, or use cpu"
        raise UsageError(msg)
    return provider


def _make_batches(n_frames: Sequence[int]) -> Iterator[list[int]]:
    """Groups segments of similar length, to avoid padding, into batches of bounded size; yields their positions."""
    batch: list[int] = []
    for number in sorted(range(len(n_frames)), key=lambda number: n_frames[number]):
        if batch and (len(batch) + 1) * n_frames[number] > BATCH_FRAMES:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def average_segments(values: npt.NDArray[np.float64], speech: Sequence[float]) -> npt.NDArray[np.float64]:
    """Averages values of a recording's segments, weighted by their seconds of speech.

    Args:
        values: Logits, embeddings or distances, shape ``(n_segments, ...)``; at least one segment.
        speech: Speech in each segment (s).
    """
    averaged: npt.NDArray[np.float64] = np.average(values, axis=0, weights=np.maximum(speech, MIN_WEIGHT))
    return averaged


def save_model(folder: Path, model: Model, weights: bytes) -> None:
    """Writes a model folder; its files are renamed into place one right after the other.

    Args:
        folder: Folder to write, created if missing.
        model: Model to write.
        weights: Content of the safetensors file that training can resume from.

    Raises:
        OSError: If the folder cannot be written.
    """
    description = {
        "schema_version": SCHEMA_VERSION,
        "labels": list(model.labels),
        "negative": list(model.negative),
        "onnx_sha256": hashlib.sha256(model.graph).hexdigest(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "audio": model.audio.to_dict(),
        "segmentation": model.segmentation.to_dict(),
        "features": model.features.to_dict(),
        "network": dict(model.network),
        "normalization": model.normalizer.to_dict(),
        "calibration": {"method": "temperature", "temperature": model.temperature},
        "typicality": model.typicality.to_dict() if model.typicality else None,
        **model.facts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (
        write_by_rename(folder / WEIGHTS_FILE, "wb") as weights_stream,
        write_by_rename(folder / ONNX_FILE, "wb") as onnx_stream,
        write_by_rename(folder / JSON_FILE) as json_stream,
        write_by_rename(folder / CARD_FILE) as card_stream,
    ):
        # Write all files before renaming the first, so that a full disk leaves the old model intact.
        weights_stream.write(weights)
        onnx_stream.write(model.graph)
        json_stream.write(json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        card_stream.write(render_card(description))
        for stream in (weights_stream, onnx_stream, json_stream, card_stream):
            stream.flush()


def load_model(folder: Path, device: str = "cpu") -> Model:
    """Reads a model folder; never executes anything in it.

    Args:
        folder: Model folder.
        device: Where the network runs; see `Model.device`.

    Raises:
        ModelError: If a file is missing or damaged, does not match the description, or has another schema version.
        UsageError: If this installation cannot use the device.
    """
    description = read_description(folder)
    path = folder / JSON_FILE
    try:
        model = _build(folder, description, device)
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
        msg = f"{path} lacks a value or has an invalid one ({one_line(error)}): restore the folder, or train again"
        raise ModelError(msg) from None
    try:
        _check_graph(model)
    except ModelError as error:
        msg = f"{folder}: {error}"
        raise ModelError(msg) from None
    return model


_STRUCTURE = frozenset(
    {
        "schema_version",
        "labels",
        "negative",
        "onnx_sha256",
        "weights_sha256",
        "audio",
        "segmentation",
        "features",
        "network",
        "normalization",
        "calibration",
        "typicality",
    }
)


def _build(folder: Path, description: dict[str, Any], device: str) -> Model:
    audio = AudioConfig.from_dict(description["audio"])
    features = FeatureConfig.from_dict(description["features"])
    segmentation = SegmentationConfig.from_dict(description["segmentation"])
    StoreParameters(audio=audio, segmentation=segmentation, features=features)  # checks that they fit together
    temperature = float(description["calibration"]["temperature"])
    if not 0.01 <= temperature <= 100:
        msg = f"the calibration temperature should be 0.01 to 100, found {temperature}"
        raise ValueError(msg)
    return Model(
        device=device,
        graph=_read_graph(folder / ONNX_FILE, str(description["onnx_sha256"])),
        labels=tuple(description["labels"]),
        negative=tuple(description["negative"]),
        audio=audio,
        segmentation=segmentation,
        features=features,
        normalizer=Normalizer.from_dict(description["normalization"], features.n_features),
        network=dict(description["network"]),
        temperature=temperature,
        typicality=Typicality.from_dict(found) if (found := description.get("typicality")) else None,
        facts={name: value for name, value in description.items() if name not in _STRUCTURE},
    )


def _read_graph(path: Path, sha256: str) -> bytes:
    try:
        graph = path.read_bytes()
    except FileNotFoundError:
        msg = f"{path} is missing: the model folder is incomplete"
        raise ModelError(msg) from None
    actual = hashlib.sha256(graph).hexdigest()
    if actual != sha256:
        msg = f"{path} is not the file that {JSON_FILE} names: expected sha256 {sha256[:12]}…, found {actual[:12]}…"
        raise ModelError(msg)
    return graph


def _check_graph(model: Model) -> None:
    """Raises an error if the graph's inputs or outputs do not match the description."""
    session = model._session
    inputs = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor.shape for tensor in session.get_outputs()}
    if set(inputs) != {"features", "n_frames"} or inputs["features"][1:2] != [model.features.n_features]:
        msg = (
            f"{ONNX_FILE} should have inputs features (segments, {model.features.n_features}, frames) and n_frames, "
            f"found {_describe_shapes(inputs)}: train the model again"
        )
        raise ModelError(msg)
    if model.typicality and "embedding" not in outputs:
        msg = f"{ONNX_FILE} has no output embedding, which the typicality in {JSON_FILE} needs: train the model again"
        raise ModelError(msg)
    telephone = len(model.typicality.telephone) if model.typicality else 0
    if telephone and outputs["embedding"][1:] != [telephone]:
        msg = (
            f"typicality.telephone in {JSON_FILE} has {telephone} values, expected as many as the embedding of "
            f"{ONNX_FILE}: found {_describe_shapes({'embedding': outputs['embedding']})}; train the model again"
        )
        raise ModelError(msg)
    if not {"logits", "attention"} <= set(outputs) or outputs["logits"][1:] != [len(model.labels)]:
        msg = (
            f"{ONNX_FILE} should have outputs logits (segments, {len(model.labels)}) and attention, "
            f"found {_describe_shapes(outputs)}: train the model again"
        )
        raise ModelError(msg)


def _describe_shapes(tensors: Mapping[str, Sequence[object]]) -> str:
    return ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in tensors.items())
