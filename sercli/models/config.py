"""Network parameters."""

from dataclasses import dataclass

from sercli.config import Config
from sercli.models.networks import NETWORKS


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig(Config):
    """Architecture and layer sizes of a network.

    Attributes:
        name: Architecture, one of `sercli.models.networks.NETWORKS`.
        channels: Output channels of each convolutional block.
        kernel_size: Width of the convolutions (frames); odd.
        pool: Max-pooling factor of each block (frames).
        dropout: Dropout rate in the blocks.
        lstm_size: Size of the LSTM state in each direction.
        attention_size: Size of the attention's hidden layer.
        dense_size: Size of the hidden dense layer.
        dense_dropout: Dropout rate before the last layer.
        members: Number of independently trained networks whose logits are averaged.
    """

    name: str = "paper"
    channels: tuple[int, ...] = (64, 96, 128)
    kernel_size: int = 5
    pool: int = 2
    dropout: float = 0.2
    lstm_size: int = 96
    attention_size: int = 64
    dense_size: int = 96
    dense_dropout: float = 0.3
    members: int = 1

    def __post_init__(self) -> None:
        self._require(condition=self.name in NETWORKS, name="name", expected=f"one of {', '.join(NETWORKS)}")
        self._require(
            condition=0 < len(self.channels) <= 16 and all(0 < size <= 4_096 for size in self.channels),
            name="channels",
            expected="1 to 16 numbers from 1 to 4096",
        )
        for name in ("lstm_size", "attention_size", "dense_size"):
            self._require(condition=0 < getattr(self, name) <= 4_096, name=name, expected="1 to 4096")
        self._require(
            condition=0 < self.kernel_size < 64 and self.kernel_size % 2 == 1,
            name="kernel_size",
            expected="an odd number under 64",
        )
        self._require(condition=1 <= self.members <= 16, name="members", expected="1 to 16 networks")
        self._require(condition=1 <= self.pool <= 8, name="pool", expected="1 to 8 frames")
        self._require(condition=0 <= self.dropout < 1, name="dropout", expected="0 to under 1")
        self._require(condition=0 <= self.dense_dropout < 1, name="dense_dropout", expected="0 to under 1")
