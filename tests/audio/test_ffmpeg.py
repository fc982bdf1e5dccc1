import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from sercli.audio.decode import AudioReader, read_signal
from sercli.audio.ffmpeg import _find_matroska_duration
from sercli.errors import AudioError
from sercli.prediction.discovery import find_recordings
from tests.encoded import ENCODERS
from tests.sounds import make_tone

SECONDS = 1.5

# Format and codec as FFmpeg calls them, sample rate, layout.
FORMATS = (
    ("ipod", "aac", 16_000, "mono"),
    ("ipod", "aac", 44_100, "stereo"),
    ("ipod", "alac", 16_000, "mono"),
    ("mp4", "aac", 48_000, "stereo"),
    ("mov", "alac", 16_000, "stereo"),
    ("mov", "pcm_s16le", 16_000, "mono"),
    ("adts", "aac", 16_000, "mono"),
    ("adts", "aac", 44_100, "stereo"),
    ("3gp", "aac", 16_000, "mono"),
    ("3gp", "libopencore_amrnb", 8_000, "mono"),
    ("amr", "libopencore_amrnb", 8_000, "mono"),
    ("webm", "libopus", 48_000, "mono"),
    ("webm", "libopus", 48_000, "stereo"),
    ("matroska", "flac", 16_000, "stereo"),
    ("matroska", "pcm_s16le", 16_000, "stereo"),
    ("asf", "wmav2", 16_000, "stereo"),
    ("avi", "libmp3lame", 16_000, "mono"),
    ("flv", "aac", 44_100, "mono"),
    ("wav", "adpcm_ima_wav", 16_000, "stereo"),
    ("wav", "adpcm_ms", 16_000, "mono"),
    ("wav", "adpcm_g726", 8_000, "mono"),
    ("wav", "libmp3lame", 16_000, "mono"),
    ("caf", "alac", 16_000, "mono"),
    ("aiff", "adpcm_ima_qt", 16_000, "mono"),
)
CONTAINERS = [form for form in FORMATS if form[0] in {"ipod", "adts", "3gp", "amr", "webm", "matroska", "asf", "flv"}]


def write(
    path: Path,
    kind: str,
    codec: str,
    rate: int,
    layout: str,
    seconds: float = SECONDS,
    options: dict[str, str] | None = None,
) -> Path:
    channels = 2 if layout == "stereo" else 1
    tone = make_tone(seconds=seconds, sample_rate=rate, channels=channels)
    with av.open(str(path), "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        if codec == "wmav2":
            stream.bit_rate = 64_000
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or None)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone.T, np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts = 0
        for converted in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


def write_video(path: Path, kind: str = "mp4", codec: str = "mpeg4", *, sound: bool = False) -> Path:
    with av.open(str(path), "w", format=kind) as container:
        video = container.add_stream(codec, rate=10)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for number in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if isinstance(audio, AudioStream):
            tone = make_tone(seconds=SECONDS).T.astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = 16_000
            resampler = av.AudioResampler("fltp", "mono", 16_000, 1024)
            for converted in (*resampler.resample(frame), *resampler.resample(None)):
                container.mux(audio.encode(converted))
            container.mux(audio.encode(None))
    return path


def refuse(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read_signal(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("kind", "codec", "rate"), [("adts", "aac", 16_000), ("amr", "libopencore_amrnb", 8_000)])
def test_formats_without_a_declared_length_may_begin_quietly(tmp_path: Path, kind: str, codec: str, rate: int) -> None:
    # FFmpeg takes the length from the bit rate of the first frames.
    sound = np.concatenate([np.zeros(5 * rate), np.random.default_rng(0).normal(0, 0.2, 10 * rate)])
    ENCODERS["aac" if kind == "adts" else "amr"](tmp_path / "x", sound[:, None], rate)
    signal, found = read_signal(tmp_path / "x")
    assert found == rate
    assert len(signal) / rate == pytest.approx(15, abs=0.2)


@pytest.mark.parametrize("name", ["recording", "recording.m4a", "recording.wav"])
@pytest.mark.parametrize(("kind", "codec", "rate", "layout"), FORMATS)
def test_sound_is_decoded_whatever_its_name(
    tmp_path: Path, kind: str, codec: str, rate: int, layout: str, name: str
) -> None:
    signal, found = read_signal(write(tmp_path / name, kind, codec, rate, layout))
    assert (found, signal.shape[1]) == (rate, 2 if layout == "stereo" else 1)
    assert signal.dtype == np.float32
    assert len(signal) / rate == pytest.approx(SECONDS, abs=0.15)
    assert np.abs(signal[rate // 2 : rate]).max() == pytest.approx(0.3, abs=0.1)


def test_sound_is_found_by_its_content(tmp_path: Path) -> None:
    expected = [
        write(tmp_path / f"{number:02d}{suffix}", *form).name
        for number, form in enumerate(FORMATS)
        for suffix in ("", ".dat", ".txt")
    ]
    assert [recording.relative for recording in find_recordings([tmp_path])] == sorted(expected)


def test_blocks_are_joined_without_a_gap(tmp_path: Path) -> None:
    tone = make_tone(seconds=10, sample_rate=16_000)[:, 0]
    signal, _ = read_signal(write(tmp_path / "a.mka", "matroska", "pcm_s16le", 16_000, "mono", seconds=10))
    assert signal.shape == (160_000, 1)
    np.testing.assert_allclose(signal[:, 0], tone, atol=1 / 2**14)


@pytest.mark.parametrize(("kind", "codec"), [("mp4", "mpeg4"), ("matroska", "mpeg4"), ("avi", "mpeg4")])
def test_a_film_without_sound_holds_none(tmp_path: Path, kind: str, codec: str) -> None:
    assert refuse(write_video(tmp_path / "a.mp4", kind, codec)).startswith("contains no audio stream")


@pytest.mark.parametrize("kind", ["mp4", "matroska", "mov"])
def test_a_film_gives_its_sound(tmp_path: Path, kind: str) -> None:
    signal, rate = read_signal(write_video(tmp_path / "a.mp4", kind, sound=True))
    assert rate == 16_000
    assert signal.shape[1] == 1
    assert len(signal) / rate == pytest.approx(SECONDS, abs=0.15)


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.7, 0.9])
def test_a_cut_m4a_with_its_index_first_is_read_as_far_as_it_goes(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "a.m4a", "ipod", "aac", 16_000, "mono", seconds=10, options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    reader = AudioReader(path)
    seconds = sum(len(block) / rate for block, rate in reader)
    assert seconds == pytest.approx(10 * kept, abs=0.7)
    (warning,) = reader.warnings
    assert warning.startswith(f"cut short: {seconds:.1f} of 10.")


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_a_cut_m4a_with_its_index_last_is_refused(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "a.m4a", "ipod", "aac", 16_000, "mono", seconds=10)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "cut short" in refuse(path)


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.85])
def test_a_cut_webm_is_read_as_far_as_it_goes(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "a.webm", "webm", "libopus", 48_000, "mono", seconds=10)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    reader = AudioReader(path)
    seconds = sum(len(block) / rate for block, rate in reader)
    assert seconds == pytest.approx(10 * kept, abs=0.7)
    assert reader.warnings == (f"cut short: {seconds:.1f} of 10.0 s",)


def test_a_webm_that_declares_no_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.webm", "webm", "libopus", 48_000, "mono", seconds=5, options={"live": "1"})
    signal, rate = read_signal(path)
    assert len(signal) / rate == pytest.approx(5, abs=0.15)


def test_sound_that_ends_before_its_film_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=10)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        assert isinstance(audio, AudioStream)
        frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), 1_000, np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(audio.encode(frame))
        for number in range(80):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    signal, rate = read_signal(path)
    assert len(signal) / rate == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(("kind", "codec", "rate", "layout"), CONTAINERS)
def test_a_damaged_file_is_refused_in_a_line_or_read(
    tmp_path: Path, kind: str, codec: str, rate: int, layout: str
) -> None:
    content = write(tmp_path / "whole", kind, codec, rate, layout).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged"
    for _ in range(10):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(12, len(damaged), 20)
        damaged[places] = rng.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            signal, _ = read_signal(path)
        except AudioError:
            refuse(path)
        else:
            assert np.isfinite(signal).all()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        *((kind, "damaged, cut short or unsupported codec") for kind in ("ipod", "webm", "matroska", "asf")),
        ("adts", "unsupported codec, or damaged header"),
        ("flv", "contains no audio stream"),
    ],
)
def test_a_container_without_content_is_refused(tmp_path: Path, kind: str, reason: str) -> None:
    form = next(form for form in FORMATS if form[0] == kind)
    content = write(tmp_path / "whole", *form).read_bytes()
    (tmp_path / "cut").write_bytes(content[:24])
    assert reason in refuse(tmp_path / "cut")


def test_a_packet_of_a_stream_that_the_header_lacks_is_skipped(tmp_path: Path) -> None:
    """A damaged tag of FLV can name a video stream long after the file was opened."""
    path = tmp_path / "a.flv"
    ENCODERS["flv"](path, make_tone(seconds=30, sample_rate=44_100), 44_100)
    content = bytearray(path.read_bytes())
    audio, at = [], 13
    while at + 11 < len(content):
        audio += [at] if content[at] == 8 else []
        at += 11 + int.from_bytes(content[at + 1 : at + 4], "big") + 4
    content[audio[len(audio) * 3 // 4]] = 9
    content[audio[len(audio) * 3 // 4] + 11] = 0x12
    path.write_bytes(content)
    signal, rate = read_signal(path)
    assert len(signal) / rate == pytest.approx(30, abs=0.2)


def test_a_size_that_is_cut_off_in_matroska_is_no_time_scale() -> None:
    info = b"\x15\x49\xa9\x66" + b"\x44\x89\x88" + struct.pack(">d", 1500.0) + b"\xec\x83\x2a\xd7\xb1"
    content = io.BytesIO(info + b"\x1f\x43\xb6\x75")
    assert _find_matroska_duration(content) == 1.5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "codec", "layout", "channels"),
    [
        ("wv", "wavpack", "octagonal", 8),
        ("wv", "wavpack", "hexadecagonal", 16),
        ("ipod", "aac", "7.1", 8),
        ("matroska", "libopus", "7.1", 8),
        ("matroska", "pcm_s16le", "7.1", 8),
    ],
)
def test_each_of_many_channels_is_read(tmp_path: Path, kind: str, codec: str, layout: str, channels: int) -> None:
    path, rate = tmp_path / f"many.{kind}", 48_000
    levels = np.linspace(0.2, 0.9, channels)
    tone = make_tone(seconds=0.5, sample_rate=rate)[:, :1] * (levels / 0.9)
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 64_000 * channels
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or 1_024)
        packed = np.ascontiguousarray(tone, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate
        for converted in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    signal, _ = read_signal(path)
    assert signal.shape[1] == channels
    loudness = np.sqrt((signal**2).mean(axis=0))
    if codec in {"wavpack", "pcm_s16le"}:
        np.testing.assert_allclose(loudness / loudness[-1], levels / 0.9, rtol=0.01)
    else:  # the fourth channel is for low frequencies only
        full = np.delete(np.arange(channels), 3)
        assert loudness[full].min() > 0.1 * loudness.max()
