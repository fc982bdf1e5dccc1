"""Parameters of a feature store."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig
from sercli.errors import UsageError
from sercli.features.frontend import FeatureConfig, order_features


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreParameters:
    """All parameters that determine the values in a feature store.

    Attributes:
        audio: Preprocessing of each segment.
        segmentation: Segmentation of recordings.
        features: Features and parameters of the front end.

    Raises:
        UsageError: If the sample rates of preprocessing and features differ.
    """

    audio: AudioConfig = field(default_factory=AudioConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)

    def __post_init__(self) -> None:
        if self.audio.sample_rate != self.features.sample_rate:
            msg = (
                f"audio and features need one sample rate, found {self.audio.sample_rate} and "
                f"{self.features.sample_rate} Hz"
            )
            raise UsageError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Returns the parameters as a JSON-ready dict."""
        return {
            "audio": self.audio.to_dict(),
            "segmentation": self.segmentation.to_dict(),
            "features": self.features.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StoreParameters":
        """Reads what `to_dict` returned.

        Raises:
            UsageError: If a value has the wrong type.
            KeyError: If a part is missing.
        """
        return cls(
            audio=AudioConfig.from_dict(values["audio"]),
            segmentation=SegmentationConfig.from_dict(values["segmentation"]),
            features=FeatureConfig.from_dict(values["features"]),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return self.features.names

    @property
    def signal_fingerprint(self) -> str:
        """Identifies the preprocessed signals: equal for equal preprocessing and segmentation."""
        return f"{self.audio.fingerprint()}-{self.segmentation.fingerprint()}"

    @property
    def fingerprint(self) -> str:
        """Identifies the values: of the signals and of each feature."""
        features = [self.features.fingerprint_of(name) for name in self.names]
        return f"{self.signal_fingerprint}-{hashlib.sha256(json.dumps(features).encode()).hexdigest()[:12]}"

    def select(self, names: tuple[str, ...]) -> "StoreParameters":
        """Restricts the parameters to some features.

        Raises:
            UsageError: If a name is not among the features.
        """
        return replace(self, features=self.features.select(names))

    def add(self, names: tuple[str, ...]) -> "StoreParameters":
        """Adds features to the parameters.

        Raises:
            UsageError: If a name is unknown.
        """
        return replace(self, features=replace(self.features, names=order_features((*self.names, *names))))

    def describe_difference(self, other: "StoreParameters") -> str:
        """Lists parameters that differ, except the features, as in ``n_mels: found 128, expected 80``."""
        mine, theirs = self._flatten(), other._flatten()
        return "; ".join(
            f"{name}: found {mine[name]}, expected {theirs[name]}" for name in mine if mine[name] != theirs[name]
        )

    def _flatten(self) -> dict[str, Any]:
        # Both audio and features have the sample rate; name it once.
        parts = (self.features.to_dict(), self.segmentation.to_dict(), self.audio.to_dict())
        return {name: value for part in parts for name, value in part.items() if name != "names"}
