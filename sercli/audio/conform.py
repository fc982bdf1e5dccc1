"""Converts a recording whose sample rate or number of channels changes midway."""

from collections.abc import Iterator

import numpy as np
import soxr

from sercli.audio.signal import BLOCK, Blocks, Signal


def conform(blocks: Blocks) -> Iterator[tuple[Signal, int]]:
    """Converts every block to the sample rate and number of channels of the first.

    Args:
        blocks: Pairs of a block in shape ``(n_samples, channels)`` and its sample rate in Hz.

    Yields:
        Blocks of at most `BLOCK` samples, all with the same number of channels and the same sample rate.
    """
    rate = channels = run_rate = 0
    resampler: soxr.ResampleStream | None = None
    for block, block_rate in blocks:
        if not rate:
            rate, channels, run_rate = block_rate, block.shape[1], block_rate
        if block_rate != run_rate:
            yield from _flush(resampler, channels, rate)
            resampler, run_rate = None, block_rate
            if block_rate != rate:
                resampler = soxr.ResampleStream(block_rate, rate, channels, dtype="float32")
        mapped = map_channels(block, channels)
        if resampler is not None:
            mapped = resampler.resample_chunk(np.ascontiguousarray(mapped)).reshape(-1, channels)
        yield from _slice(mapped, rate)
    yield from _flush(resampler, channels, rate)


def map_channels(block: Signal, channels: int) -> Signal:
    """Replaces all channels by their mean if their number differs."""
    if block.shape[1] == channels:
        return block
    mean: Signal = block.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.repeat(mean, channels, axis=1)


def _flush(resampler: "soxr.ResampleStream | None", channels: int, rate: int) -> Iterator[tuple[Signal, int]]:
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)
        yield from _slice(rest.reshape(-1, channels), rate)


def _slice(block: Signal, rate: int) -> Iterator[tuple[Signal, int]]:
    for start in range(0, len(block), BLOCK):
        yield block[start : start + BLOCK], rate
