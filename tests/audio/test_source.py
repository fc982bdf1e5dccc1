"""Several recordings behind one another in one file."""

from pathlib import Path

import numpy as np
import pytest

from sercli.audio.decode import read_facts
from sercli.errors import AudioError
from tests.audio.reading import FILES, PCM, SAMPLES, read
from tests.encoded import encode
from tests.headers import au, caf, wav
from tests.sounds import make_tone, write_sound


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("size", [None, "unknown"])
def test_files_joined_behind_one_another_are_all_read(tmp_path: Path, kind: str, size: str | None) -> None:
    content = FILES[kind]
    if size:
        unknown = {"WAV": wav(PCM, 0xFFFF_FFFF), "AU": au(PCM, 0xFFFF_FFFF), "CAF": caf(PCM, -1)}
        content = unknown.get(kind, content)
    (tmp_path / "a").write_bytes(content * 3)
    signal, _, warnings = read(tmp_path / "a")
    np.testing.assert_array_equal(signal[:, 0], np.tile(SAMPLES, 3) / np.float32(32_768))
    assert warnings == ()


@pytest.mark.parametrize(
    ("damaged", "warnings"),
    [
        ((0,), ("damaged after 0.0 s: part 1 of 3 cannot be fully decoded",)),
        ((1,), ("damaged after 0.5 s: part 2 of 3 cannot be fully decoded",)),
        ((2,), ("damaged after 1.0 s: the rest cannot be decoded",)),
        (
            (0, 1),
            (
                "damaged after 0.0 s: part 1 of 3 cannot be fully decoded",
                "damaged after 0.0 s: part 2 of 3 cannot be fully decoded",
            ),
        ),
    ],
)
def test_a_damaged_part_is_reported_and_the_others_are_read(
    tmp_path: Path, damaged: tuple[int, ...], warnings: tuple[str, ...]
) -> None:
    good = write_sound(tmp_path / "good.wav", make_tone(seconds=0.5)).read_bytes()
    bad = good[:20] + b"\x34\x12" + good[22:]  # an unknown codec
    path = tmp_path / "a.wav"
    path.write_bytes(b"".join(bad if number in damaged else good for number in range(3)))
    signal, rate, found = read(path)
    assert len(signal) == (3 - len(damaged)) * rate // 2
    assert found == warnings
    with pytest.raises(AudioError, match="damaged"):
        read_facts(path)


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "webm", "m4a", "wma", "flv", "wv", "amr-nb", "mp3", "aac"])
def test_the_same_recording_three_times_in_one_file_is_heard_three_times(tmp_path: Path, kind: str) -> None:
    if kind == "amr-nb":
        # Frames of AMR may hold anything.
        frame = b"\x3c" + bytes(31)
        path = tmp_path / "a.amr"
        path.write_bytes(b"#!AMR\n" + frame * 100)
    else:
        rate = 44_100 if kind == "flv" else 16_000
        path = encode(tmp_path, "a", kind, make_tone(seconds=2, sample_rate=rate), rate)
    alone, rate, _ = read(path)
    path.write_bytes(path.read_bytes() * 3)
    signal, _, warnings = read(path)
    assert len(signal) / rate == pytest.approx(3 * len(alone) / rate, abs=0.3)
    assert not any("cut short" in warning for warning in warnings)
