"""What the features of a store were computed with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sercli.audio.segmentation import SegmentationConfig
from sercli.config import AudioConfig
from sercli.errors import UsageError
from sercli.features.frontend import FeatureConfig

DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreParameters:
    """Everything that decides the numbers in a store.

    Attributes:
        audio: preprocessing.
        features: of the front end.
        dtype: of the numbers on disk, one of `DTYPES`.
        segmentation: How recordings are cut into segments.

    Raises:
        UsageError: if the type is another.
    """

    audio: AudioConfig = field(default_factory=AudioConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    dtype: str = "float16"
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            msg = f"numbers of a store should be {' or '.join(DTYPES)}, found {self.dtype!r}"
            raise UsageError(msg)

    def to_dict(self) -> dict[str, Any]:
        """The parameters as a JSON-ready dict."""
        return {
            "audio": self.audio.to_dict(),
            "features": self.features.to_dict(),
            "dtype": self.dtype,
            "segmentation": self.segmentation.to_dict(),
        }

    @property
    def fingerprint(self) -> str:
        """Equal for equal parameters: of the signal, of the segments, of the features, and the type of number."""
        parts = (self.audio.fingerprint(), self.segmentation.fingerprint(), self.features.fingerprint(), self.dtype)
        return "-".join(parts)

    def describe_difference(self, other: "StoreParameters") -> str:
        """Names and values in which another set differs, as ``n_mels 128 against 80``."""
        mine, theirs = self._flat(), other._flat()
        return ", ".join(f"{name} {mine[name]} against {theirs[name]}" for name in mine if mine[name] != theirs[name])

    def _flat(self) -> dict[str, Any]:
        # The sample rate stands in both parts; it is named once.
        return {
            **self.features.to_dict(),
            **self.audio.to_dict(),
            **self.segmentation.to_dict(),
            "dtype": self.dtype,
        }


def parse_parameters(values: Mapping[str, Any]) -> StoreParameters:
    """Reads what `StoreParameters.to_dict` gave.

    Raises:
        UsageError: if a value is not what it should be.
        KeyError: if a part is missing.
    """
    return StoreParameters(
        audio=AudioConfig.from_dict(values["audio"]),
        features=FeatureConfig.from_dict(values["features"]),
        dtype=str(values["dtype"]),
        segmentation=SegmentationConfig.from_dict(values["segmentation"]),
    )
