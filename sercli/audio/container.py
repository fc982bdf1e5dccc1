"""Decoding what libsndfile cannot read, as M4A, MP4, WebM, AMR and WMA, by FFmpeg through PyAV."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sercli.audio.signal import BLOCK, Signal
from sercli.errors import AudioError
from sercli.files import one_line

ESTIMATED = ("aac", "amr")  # formats without a declared length: FFmpeg guesses it from the first frames
CUT_TOLERANCE = 1.0  # seconds that may be missing of the declared length, which containers round


def read_container(path: Path, demuxer: str) -> Iterator[tuple[Signal, int]]:
    """Decodes the first sound stream of a file block by block.

    The file is handed over as an open stream and its format by name, so that nothing else is ever opened, whatever
    the file says.

    Args:
        path: the file.
        demuxer: FFmpeg's name of its format.

    Yields:
        pairs of a block in shape ``(n_samples, channels)`` and the sample rate in Hz.

    Raises:
        AudioError: if it holds no sound, is damaged, or is cut short.
    """
    # Slow to import, and rarely wanted.
    import av

    av.logging.set_level(None)
    try:
        with open(os.fspath(path), "rb") as file, av.open(file, format=demuxer, metadata_errors="ignore") as container:  # noqa: PTH123
            yield from _decode(container)
    except (av.error.FFmpegError, OSError, ValueError, EOFError, MemoryError) as reason:
        detail = one_line(reason)
        msg = f"cannot be decoded: damaged, cut short or of an unknown codec ({detail[:160]})"
        raise AudioError(msg) from None


def _decode(container: "av.container.InputContainer") -> Iterator[tuple[Signal, int]]:  # type: ignore[name-defined]  # noqa: F821
    import av

    if not container.streams.audio:
        msg = "holds no sound: only other streams"
        raise AudioError(msg)
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or not context.sample_rate or not context.layout.nb_channels:
        msg = "cannot be decoded: its codec is not known, or the header is damaged"
        raise AudioError(msg)
    stream.thread_type = "NONE"  # recordings are decoded side by side instead
    rate, layout = context.sample_rate, context.layout
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    held: list[Signal] = []
    count = frames = 0
    for frame in container.decode(stream):
        frame.pts = None  # gaps in the time stamps of a damaged file would be filled with silence
        for converted in resampler.resample(frame):
            held.append(np.ascontiguousarray(converted.to_ndarray().T))
            count += len(held[-1])
        if count >= BLOCK:
            frames += count
            yield np.concatenate(held), rate
            held, count = [], 0
    if held:
        frames += count
        yield np.concatenate(held), rate
    declared = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    # Matroska tells the length of the whole only; a film may be longer than its sound.
    if not declared and container.duration and len(container.streams) == 1:
        declared = container.duration / av.time_base
    if container.format.name in ESTIMATED:
        declared = 0.0
    if frames and frames / rate < declared - max(CUT_TOLERANCE, 0.02 * declared):
        msg = f"cut short: {frames / rate:.2f} s could be decoded of {declared:.2f} s declared"
        raise AudioError(msg)
