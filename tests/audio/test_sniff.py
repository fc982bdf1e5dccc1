import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercli.audio.decode import read_signal
from sercli.audio.sniff import (
    HEAD_BYTES,
    RAW_FORMATS,
    SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    find_demuxer,
    find_mpeg,
    looks_like_sound,
    read_head,
)
from sercli.errors import AudioError, InputError
from sercli.prediction.discovery import find_recordings
from tests.encoded import ENCODERS
from tests.sounds import make_tone

SECONDS = 1.2
FORMATS = (
    ("WAV", "PCM_16", 16_000, 1),
    ("WAV", "PCM_24", 48_000, 2),
    ("WAV", "FLOAT", 16_000, 2),
    ("WAV", "ULAW", 8_000, 1),
    ("WAV", "ALAW", 8_000, 2),
    ("WAV", "GSM610", 8_000, 1),
    ("WAV", "IMA_ADPCM", 16_000, 1),
    ("WAVEX", "PCM_16", 16_000, 2),
    ("RF64", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_16", 16_000, 2),
    ("OGG", "VORBIS", 16_000, 1),
    ("OGG", "OPUS", 48_000, 2),
    ("MP3", "MPEG_LAYER_III", 16_000, 1),
    ("MP3", "MPEG_LAYER_III", 44_100, 2),
    ("AIFF", "PCM_16", 44_100, 2),
    ("AIFF", "ULAW", 8_000, 1),
    ("AU", "PCM_16", 16_000, 1),
    ("CAF", "PCM_16", 16_000, 2),
    ("W64", "PCM_16", 16_000, 1),
    ("VOC", "PCM_16", 16_000, 1),
    ("NIST", "PCM_16", 16_000, 1),
)
NO_SOUND = {
    "text": b"Call of Monday, in which the customer complains.\n" * 20,
    "a text of UTF-16": "\ufeffCall of Monday, in which the customer complains.\n".encode("utf-16-le") * 20,
    "a text that begins as CAF does": b"caffeine: notes on the calls of Monday\n" * 20,
    "a text that begins as an MP3 does": b"ID3 tags: notes on the calls of Monday\n" * 20,
    "a table": b"file,emotion\na.wav,sad\n" * 20,
    "JSON": b'{"RIFF": "WAVE"}\n' * 20,
    "a playlist": b"#EXTM3U\n#EXTINF:1,a\na.wav\n",
    "PNG": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(500),
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(500),
    "GIF": b"GIF89a" + bytes(500),
    "WebP": b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(500),
    "HEIC": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(500),
    "AVIF": b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + bytes(500),
    "PDF": b"%PDF-1.7\n" + bytes(500),
    "ZIP": b"PK\x03\x04" + bytes(500),
    "zeros": bytes(4_000),
    "ones": b"\xff" * 4_000,
    "a byte": b"\xff",
    "nothing": b"",
}


def write(path: Path, kind: str, subtype: str, rate: int, channels: int) -> Path:
    tone = make_tone(seconds=SECONDS, sample_rate=rate, channels=channels)
    with path.open("wb") as stream:
        soundfile.write(stream, tone, rate, format=kind, subtype=subtype)
    return path


def find_names(folder: Path) -> list[str]:
    try:
        return [recording.relative for recording in find_recordings([folder])]
    except InputError:  # of a folder without recordings
        return []


@pytest.mark.parametrize("name", ["recording", "recording.wav", "recording.m4a", "recording.mp3", "recording.txt"])
@pytest.mark.parametrize(("kind", "subtype", "rate", "channels"), FORMATS)
def test_sound_is_decoded_whatever_its_name(
    tmp_path: Path, kind: str, subtype: str, rate: int, channels: int, name: str
) -> None:
    path = write(tmp_path / name, kind, subtype, rate, channels)
    signal, found = read_signal(path)
    assert (found, signal.shape[1]) == (rate, channels)
    assert len(signal) / rate == pytest.approx(SECONDS, abs=0.15)
    assert np.abs(signal[rate // 4 : rate]).max() == pytest.approx(0.3, abs=0.1)


def test_sound_is_found_by_its_content_and_nothing_else_is(tmp_path: Path) -> None:
    expected = [
        write(tmp_path / f"{number:02d}{suffix}", *form).name
        for number, form in enumerate(FORMATS)
        for suffix in ("", ".dat", ".txt", ".png")
    ]
    rng = np.random.default_rng(0)
    for number in range(50):
        (tmp_path / f"random-{number}.bin").write_bytes(rng.bytes(4_000))
    assert find_names(tmp_path) == sorted(expected)


@pytest.mark.parametrize("what", NO_SOUND)
def test_what_is_no_sound_is_left_alone(tmp_path: Path, what: str) -> None:
    (tmp_path / "file.dat").write_bytes(NO_SOUND[what])
    assert find_names(tmp_path) == []


@pytest.mark.parametrize("what", NO_SOUND)
def test_what_is_no_sound_is_refused_under_the_name_of_one(tmp_path: Path, what: str) -> None:
    for name in ("a.wav", "a.mp3", "a.m4a"):
        (tmp_path / name).write_bytes(NO_SOUND[what])
        with pytest.raises(
            AudioError, match=r"is an empty file" if what == "nothing" else "is not a sound file"
        ) as caught:
            read_signal(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("second", [0xE0, 0xE1, 0xF0, 0xF1, 0xF2, 0xF3, 0xF9, 0xFA, 0xFB, 0xFE])
def test_what_only_begins_like_a_frame_of_mpeg_is_left_alone(tmp_path: Path, second: int) -> None:
    content = np.random.default_rng(second).bytes(4_000)
    (tmp_path / "file.dat").write_bytes(bytes([0xFF, second]) + content)
    assert find_names(tmp_path) == []


@pytest.mark.parametrize("suffix", [".m4a", ".mp3", ".wav", ".webm", ".aac", ".ogg"])
@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n{path}\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "[playlist]\nFile1={path}\nNumberOfEntries=1\n",
    ],
)
def test_a_playlist_is_refused_and_what_it_names_is_not_opened(tmp_path: Path, content: str, suffix: str) -> None:
    named = write(tmp_path / "named.wav", "WAV", "PCM_16", 16_000, 1)
    os.utime(named, (0, time.time()))  # so that reading it would show, where the file system notes that at all
    path = tmp_path / f"playlist{suffix}"
    path.write_text(content.format(path=named))
    with pytest.raises(AudioError, match="is not a sound file that can be decoded"):
        read_signal(path)
    assert named.stat().st_atime == 0


def test_a_head_is_of_regular_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(bytes(range(250)) * 10)
    assert read_head(tmp_path / "long") == (bytes(range(250)) * 10)[:HEAD_BYTES]
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "gone", Path("/dev/zero"), Path("nul\0")):
        assert read_head(path) == b""


@pytest.mark.parametrize(
    ("head", "sound", "demuxer"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", True, "wav"),
        (b"fLaC", True, "flac"),
        (b"ID3\x04\0", True, None),
        (b"\0\0\0\x1cftypM4A ", True, "mov"),
        (b"\x1aE\xdf\xa3", True, "matroska"),
        (b"#!AMR\n", True, "amr"),
        (b"#!AMR-WB\n", True, "amr"),
        (b"wvpk", True, "wv"),
        (bytes(100) + b"G" + (bytes(187) + b"G") * 4, True, "mpegts"),
        (b"G" + (bytes(191) + b"G") * 4, True, "mpegts"),
        (b"\0\0\x01\xba", True, "mpeg"),
        (b"\x0bw\0\0\0\x40", None, "ac3"),
        (b"\x0bw\0\0\0\x80", None, "eac3"),
        (b"\x56\xe0\0", None, None),
        (b"\xff\xfb\x90\0", None, None),
        (b"\xff\xff\xff", False, None),
        (b"\xff\xd8\xff", False, None),
        (b"", False, None),
    ],
)
def test_a_head_shows_sound_and_demuxer(head: bytes, sound: bool | None, demuxer: str | None) -> None:
    assert (looks_like_sound(head), find_demuxer(head)) == (sound, demuxer)


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
