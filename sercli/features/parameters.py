"""What the features of a store were computed with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sercli.audio.channel import get_channel
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
        channel: that the recordings were passed through first, a name of `sercli.audio.channel.CHANNELS`, or empty.

    Raises:
        UsageError: if the type or the channel is another.
    """

    audio: AudioConfig = field(default_factory=AudioConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    dtype: str = "float16"
    channel: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            msg = f"numbers of a store should be {' or '.join(DTYPES)}, found {self.dtype!r}"
            raise UsageError(msg)
        if self.channel:
            get_channel(self.channel)

    def to_dict(self) -> dict[str, Any]:
        """The parameters as a JSON-ready dict."""
        return {
            "audio": self.audio.to_dict(),
            "features": self.features.to_dict(),
            "dtype": self.dtype,
            **({"channel": self.channel} if self.channel else {}),
        }

    @property
    def fingerprint(self) -> str:
        """Equal for equal parameters: of the signal, of the features, the type of number, and the channel."""
        parts = (self.audio.fingerprint(), self.features.fingerprint(), self.dtype, self.channel)
        return "-".join(filter(None, parts))

    def describe_difference(self, other: "StoreParameters") -> str:
        """Names and values in which another set differs, as ``n_mels 128 against 80``."""
        mine, theirs = self._flat(), other._flat()
        return ", ".join(f"{name} {mine[name]} against {theirs[name]}" for name in mine if mine[name] != theirs[name])

    def _flat(self) -> dict[str, Any]:
        # The sample rate stands in both parts; it is named once.
        return {
            **self.features.to_dict(),
            **self.audio.to_dict(),
            "dtype": self.dtype,
            "channel": self.channel or "none",
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
        channel=str(values.get("channel", "")),
    )
