"""A trained model as a folder: ``model.safetensors``, ``model.json`` and ``MODEL_CARD.md``; all that predict needs."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sercli.config import AudioConfig, FeatureConfig
from sercli.errors import ModelError, UsageError
from sercli.files import hash_file, one_line, read_json_object, write_by_rename
from sercli.labels import EMOTIONS
from sercli.models.card import render_card
from sercli.models.config import NetworkConfig
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer
from sercli.version import __version__

SCHEMA_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
JSON_FILE = "model.json"
CARD_FILE = "MODEL_CARD.md"
DEFAULT_MODEL = Path(__file__).parents[1] / "default_model"
"""Folder of the model that comes with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained network with everything that must be done before and after it.

    Attributes:
        network: in evaluation mode.
        network_config: what it was built from.
        audio: preprocessing of its recordings.
        features: of its front end; `FeatureConfig.names` are those the network sees.
        normalizer: of the features.
        temperature: that logits are divided by so that probabilities are calibrated (Guo et al. 2017).
        facts: how it came about, JSON-ready: ``recipe``, ``training_data``, ``figures``, ``seed``,
            ``versions``, ``command``.
    """

    network: nn.Module
    network_config: NetworkConfig
    audio: AudioConfig
    features: FeatureConfig
    normalizer: Normalizer
    temperature: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Model":
        """The same model on a device."""
        return replace(self, network=self.network.to(device))

    @torch.inference_mode()
    def logits(self, frames: Sequence[Tensor], normalizers: Sequence[Normalizer] | None = None) -> Tensor:
        """Calibrated logits of a batch.

        Args:
            frames: features of each utterance as the front end gives them, in shape
                ``(n_features, n_frames)``, on the network's device.
            normalizers: of each utterance's speaker, as `Normalizer.enrol` makes them; the model's own if None.

        Returns:
            logits over the temperature, in shape ``(batch, 8)``; their softmax are the probabilities.
        """
        device = next(self.network.parameters()).device
        chosen = normalizers or [self.normalizer] * len(frames)
        # One transfer for each speaker, not for each utterance.
        vectors = {
            key: tuple(torch.from_numpy(vector).to(device) for vector in (by.mean, by.deviation))
            for key, by in {id(by): by for by in chosen}.items()
        }
        normalised = []
        for matrix, by in zip(frames, chosen, strict=True):
            mean, deviation = vectors[id(by)]
            normalised.append((matrix.to(device).T - mean) / deviation)
        lengths = torch.tensor([len(matrix) for matrix in normalised], device=device)
        batch = nn.utils.rnn.pad_sequence(normalised, batch_first=True).transpose(1, 2)
        scaled: Tensor = self.network(batch, lengths).float() / self.temperature
        return scaled


def collect_versions() -> dict[str, str]:
    """Versions of sercli, Python and the libraries that results depend on."""
    names = ("torch", "librosa", "numpy", "scipy", "soundfile", "soxr", "scikit-learn", "h5py")
    return {
        "sercli": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def list_files(folder: Path) -> list[Path]:
    """The files of a model folder."""
    return [folder / name for name in (WEIGHTS_FILE, JSON_FILE, CARD_FILE)]


def save_model(folder: Path, model: Model) -> None:
    """Writes a model folder; the files appear by rename, one right after the other.

    What half precision holds to the last bit, as `round_weights` makes it, takes half the room.

    Raises:
        OSError: if it cannot be written.
    """
    weights = {name: _pack(tensor.contiguous().cpu()) for name, tensor in model.network.state_dict().items()}
    content = safetensors.torch.save(weights)
    description = {
        "schema_version": SCHEMA_VERSION,
        "labels": list(EMOTIONS),
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "audio": model.audio.to_dict(),
        "features": model.features.to_dict(),
        "network": model.network_config.to_dict(),
        "normalization": model.normalizer.to_dict(),
        "calibration": {"method": "temperature", "temperature": model.temperature},
        **model.facts,
    }
    with (
        write_by_rename(folder / WEIGHTS_FILE, "wb") as weights_stream,
        write_by_rename(folder / JSON_FILE) as json_stream,
        write_by_rename(folder / CARD_FILE) as card_stream,
    ):
        # All are written before the first takes its name, so that a full disk leaves the old model whole.
        weights_stream.write(content)
        json_stream.write(json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        card_stream.write(render_card(description))


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Rounds a network's matrices and kernels to half precision, which a model folder of half the size can hold.

    Vectors stay as they are, since the variances of batch normalisation may be beyond its range.
    """
    for weights in network.parameters():
        if weights.ndim > 1:
            weights.copy_(weights.half())


def _pack(weights: Tensor) -> Tensor:
    if weights.dtype != torch.float32:
        return weights
    half = weights.half()
    return half if torch.equal(half.float(), weights) else weights


def load_model(folder: Path) -> Model:
    """Reads a model folder; nothing in it is ever run.

    Raises:
        ModelError: if a file is missing or damaged, the weights are not those the description names, or the
            schema version is another.
    """
    if not folder.is_dir():
        msg = f"no model folder at {folder}: expected {WEIGHTS_FILE} and {JSON_FILE} in it, as 'sercli train' makes"
        raise ModelError(msg)
    description = read_json_object(folder / JSON_FILE, ModelError)
    version = description.get("schema_version")
    if version != SCHEMA_VERSION:
        msg = f"{folder / JSON_FILE} has schema version {version!r}, this sercli reads {SCHEMA_VERSION}: train anew"
        raise ModelError(msg)
    if description.get("labels") != list(EMOTIONS):
        msg = f"{folder / JSON_FILE} should list the labels {', '.join(EMOTIONS)}, in this order"
        raise ModelError(msg)
    try:
        return _build(folder, description)
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as reason:
        msg = f"{folder / JSON_FILE} lacks something or holds what it should not ({one_line(reason)})"
        raise ModelError(msg) from None


def _build(folder: Path, description: dict[str, Any]) -> Model:
    audio = AudioConfig.from_dict(description["audio"])
    features = FeatureConfig.from_dict(description["features"])
    if audio.sample_rate != features.sample_rate:
        msg = f"audio and features should have one sample rate, found {audio.sample_rate} and {features.sample_rate} Hz"
        raise ValueError(msg)
    network_config = NetworkConfig.from_dict(description["network"])
    weights = _read_weights(folder / WEIGHTS_FILE, str(description["weights_sha256"]))
    network = _build_network(network_config, features.n_features, weights)
    temperature = float(description["calibration"]["temperature"])
    if not 0.01 <= temperature <= 100:
        msg = f"calibration temperature should be 0.01 to 100, found {temperature}"
        raise ValueError(msg)
    known = {
        "schema_version",
        "labels",
        "weights_sha256",
        "audio",
        "features",
        "network",
        "normalization",
        "calibration",
    }
    return Model(
        network=network.eval(),
        network_config=network_config,
        audio=audio,
        features=features,
        normalizer=Normalizer.from_dict(description["normalization"], features.n_features),
        temperature=temperature,
        facts={name: value for name, value in description.items() if name not in known},
    )


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        found = hash_file(path)
        weights = safetensors.torch.load_file(path)
    except FileNotFoundError:
        msg = f"{path} is missing: the model folder is incomplete"
        raise ModelError(msg) from None
    except (safetensors.SafetensorError, ValueError) as reason:
        msg = f"{path} cannot be read ({one_line(reason)}): it may be cut short; copy the model folder again"
        raise ModelError(msg) from None
    if found != sha256:
        msg = f"{path} is not the file that {JSON_FILE} names: expected sha256 {sha256[:12]}…, found {found[:12]}…"
        raise ModelError(msg)
    return weights


def _build_network(config: NetworkConfig, n_features: int, weights: dict[str, Tensor]) -> nn.Module:
    """Builds a network around weights; what a damaged description claims takes no memory."""
    with torch.device("meta"):
        network = build_network(config, n_features)
    kinds = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    unpacked = {name: _unpack(tensor) for name, tensor in weights.items()}
    if odd := [name for name, tensor in unpacked.items() if tensor.dtype != kinds.get(name, tensor.dtype)]:
        msg = f"{WEIGHTS_FILE} holds {odd[0]} as {unpacked[odd[0]].dtype}, expected {kinds[odd[0]]} or half precision"
        raise ModelError(msg)
    try:
        network.load_state_dict(unpacked, assign=True)
    except RuntimeError as reason:
        msg = f"{WEIGHTS_FILE} does not fit the network that {JSON_FILE} describes ({one_line(reason)[:200]})"
        raise ModelError(msg) from None
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _unpack(weights: Tensor) -> Tensor:
    # Always a copy, since convolutions round otherwise where a file's tensors do not lie on a vector's boundary.
    return weights.float() if weights.dtype == torch.float16 else weights.clone()


def model_digest(folder: Path) -> str:
    """Twelve hex digits that name the content of a model folder.

    Raises:
        ModelError: if ``model.json`` is missing.
    """
    path = folder / JSON_FILE
    if not path.is_file():
        msg = f"{path} is missing"
        raise ModelError(msg)
    return hash_file(path)[:12]
