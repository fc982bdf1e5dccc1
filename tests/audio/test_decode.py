"""Every format is decoded whole: compared with FFmpeg called plainly, and with the samples that were written."""

from pathlib import Path

import av
import numpy as np
import pytest

from sercli.audio.decode import AudioReader, read_signal
from sercli.audio.sniff import RAW_FORMATS
from sercli.errors import AudioError
from tests.encoded import ENCODERS, encode, fits
from tests.sounds import make_tone

SECONDS = 3.0
RATES = (16_000, 8_000, 44_100, 48_000)
# Kinds that no header declares the length of, and whose packets have no size either.
UNDECLARED = ("ac3", "ts", "mpg", "mp2", "gsm", "g722", "sln", "sln16", "ulaw", "alaw")


def measure(path: Path) -> float:
    """Seconds that FFmpeg decodes, its own way: it probes the format and skips what it cannot decode."""
    seconds = 0.0
    try:
        with av.open(str(path)) as container:
            for packet in container.demux(container.streams.audio[0]):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                seconds += sum(frame.samples / frame.sample_rate for frame in frames)
    except (av.error.FFmpegError, IndexError):
        pass
    return seconds


def read(path: Path) -> tuple[float, tuple[str, ...]]:
    reader, seconds = AudioReader(path), 0.0
    try:
        for block, rate in reader:
            seconds += len(block) / rate
    except AudioError as reason:
        return 0.0, (str(reason),)
    return seconds, reader.warnings


def make(folder: Path, kind: str) -> Path:
    rate = next(rate for rate in RATES if fits(kind, rate, 1))
    return encode(folder, "a", kind, make_tone(seconds=SECONDS, sample_rate=rate), rate)


@pytest.mark.parametrize("kind", ENCODERS)
def test_nothing_is_shortened_in_silence(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path, kind)
    content = path.read_bytes()
    whole, warnings = read(path)
    assert whole == pytest.approx(SECONDS, abs=0.15)
    assert warnings == ()
    for name, changed, at_least in (
        ("twice", content * 2, 2 * whole - 0.15),
        *((f"cut to {kept}", content[: int(kept * len(content))], 0.0) for kept in (0.02, 0.25, 0.5, 0.75, 0.95)),
        ("damaged", content[: len(content) // 2] + b"\x55" * 40 + content[len(content) // 2 + 40 :], 0.0),
    ):
        path.write_bytes(changed)
        seconds, warnings = read(path)
        if (kind, name) != ("amr", "twice"):  # FFmpeg takes the second header for frames
            assert seconds > measure(path) - 0.1, name
        assert seconds >= at_least, name
        if seconds < whole - 0.2:
            assert warnings or kind in UNDECLARED, name


@pytest.mark.parametrize("suffix", RAW_FORMATS)
def test_headerless_formats_are_read_at_the_rate_of_their_suffix(tmp_path: Path, suffix: str) -> None:
    form = RAW_FORMATS[suffix]
    if form.demuxer in ("g723_1", "g729"):
        pytest.skip("FFmpeg has no encoder with a muxer of its own for it")
    kind = {"GSM610": "gsm", "PCM_16": "sln", "ULAW": "ulaw", "ALAW": "alaw"}.get(form.subtype, "g722")
    tone = make_tone(seconds=2, sample_rate=form.sample_rate)
    ENCODERS[kind](tmp_path / f"a{suffix.upper()}", tone, form.sample_rate)
    signal, rate = read_signal(tmp_path / f"a{suffix.upper()}")
    assert rate == form.sample_rate
    assert signal.shape == (2 * rate, 1)
    if kind == "g722":
        assert np.abs(signal).max() == pytest.approx(0.31, abs=0.03)
    else:
        np.testing.assert_allclose(signal, tone, atol=0.05 if kind != "gsm" else 0.3)
