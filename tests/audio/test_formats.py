"""Every format is decoded whole: compared with FFmpeg called plainly, and with the samples that were written."""

from pathlib import Path

import av
import numpy as np
import pytest

from sercli.audio.decode import AudioReader, read_signal
from sercli.audio.sniff import RAW_FORMATS, SUFFIXES, UNSUPPORTED_SUFFIXES, find_mpeg
from sercli.errors import AudioError
from tests.encoded import ENCODERS, encode, fits
from tests.headers import aiff, au, caf, rf64, w64, wav
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


@pytest.mark.parametrize(
    "suffix", sorted({*RAW_FORMATS, ".vox", ".pcm", ".raw", ".dss", ".au", ".htk", ".wav", ".mp3"})
)
def test_text_is_never_taken_for_headerless_sound(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_text("package AutoLoader; # a text, whatever its suffix\n" * 50)
    message = f"{suffix} is not supported" if suffix in UNSUPPORTED_SUFFIXES else "is not a sound file"
    with pytest.raises(AudioError, match=message):
        read_signal(tmp_path / f"a{suffix}")


def test_the_content_goes_before_the_suffix_of_a_headerless_format(tmp_path: Path) -> None:
    for suffix in (*RAW_FORMATS, ".vox", ".pcm"):
        path = tmp_path / f"a{suffix}"
        ENCODERS["wav"](path, make_tone(seconds=1, sample_rate=22_050), 22_050)
        signal, rate = read_signal(path)
        assert (rate, len(signal)) == (22_050, 22_050)


def test_what_is_not_gsm_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gsm").write_bytes(np.random.default_rng(0).bytes(3_300))
    with pytest.raises(AudioError, match="is not a sound file"):
        read_signal(tmp_path / "a.gsm")


@pytest.mark.parametrize("suffix", [".vox", ".pcm", ".raw"])
def test_formats_of_unknown_rate_are_not_guessed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(np.random.default_rng(0).bytes(8_000))
    with pytest.raises(AudioError, match=rf"^\{suffix} is not supported: convert it to WAV$"):
        read_signal(tmp_path / f"a{suffix}")


def test_suffixes_are_lower_case_and_each_is_read_or_not() -> None:
    every = [*SUFFIXES, *UNSUPPORTED_SUFFIXES]
    assert len(set(every)) == len(every)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in every)
    assert set(RAW_FORMATS) <= set(SUFFIXES)


@pytest.mark.parametrize("seed", range(20))
def test_no_frames_of_mpeg_are_found_in_noise_or_companded_silence(seed: int) -> None:
    noise = np.random.default_rng(seed).bytes(20_000)
    assert find_mpeg(noise, whole=True) is None
    assert find_mpeg(bytes([(0xFF, 0x7F, 0xD5, 0x55)[seed % 4]]) * 20_000, whole=True) is None


@pytest.mark.parametrize(
    ("content", "channels"),
    [
        (wav(bytes(9_000)), b"\1\0\x40\x1f"),
        (w64(bytes(9_000)), b"\1\0\x40\x1f"),
        (aiff(bytes(9_000)), b"\0\1\0\0\x11\x94"),
        (au(bytes(9_000)), b"\0\0\x1f\x40\0\0\0\1"),
        (caf(bytes(9_000)), b"\0\0\0\1\0\0\0\1\0\0\0\x10"),
    ],
    ids=["WAV", "W64", "AIFF", "AU", "CAF"],
)
def test_a_header_that_claims_thousands_of_channels_is_refused(tmp_path: Path, content: bytes, channels: bytes) -> None:
    # FFmpeg crashes on some of them.
    claimed = {4: b"\xff\x7f\x40\x1f", 6: b"\x7f\xff\0\0\x11\x94", 8: channels[:4] + b"\0\0\x7f\xff"}
    claim = claimed.get(len(channels), b"\0\0\0\1\0\0\x7f\xff\0\0\0\x10")
    assert content.count(channels) == 1
    (tmp_path / "a").write_bytes(content.replace(channels, claim))
    with pytest.raises(AudioError, match="header claims 32767 channels"):
        read_signal(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caff\0\1\0\0desc" + b"\x7f" + b"\xff" * 7 + bytes(64), "file is malformed"),
        (b"\0\0\0\1ftyp" + b"\xff" * 8 + bytes(64), "cannot be decoded"),
        (rf64(bytes(100), 2**64 - 1).replace(b"fmt ", b"junk"), "Channel count is zero"),
        (w64(bytes(100), 2**63 - 1).replace(b"fmt ", b"junk"), "No 'data' chunk"),
    ],
    ids=["CAF", "MP4", "RF64", "W64"],
)
def test_a_size_beyond_all_files_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(AudioError, match=message):
        read_signal(tmp_path / "a")
