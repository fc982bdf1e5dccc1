"""Thousands of damaged files of every kind: a row for each, whatever is in it, and nothing hangs or crashes."""

from pathlib import Path

import numpy as np
import pytest

from sercli.prediction.predictor import Predictor
from tests.encoded import ENCODERS, encode, fits
from tests.prediction.conftest import WINDOW
from tests.sounds import make_tone

DAMAGED = 2_100
HEAD = 256  # bytes in which headers are


def damage(content: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Bytes flipped anywhere or in the head, cut at either end, a piece left out or doubled, another file's head."""
    data = bytearray(content)
    size = len(data)
    at, length = int(rng.integers(size)), int(rng.integers(1, max(2, size // 4)))
    kind = int(rng.integers(8))
    if kind <= 1:
        for place in rng.integers(size if kind else min(size, HEAD), size=int(rng.integers(1, 30))):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[:at]
    elif kind == 4:
        del data[at : at + length]
    elif kind == 5:
        data[at:at] = data[at : at + length]
    elif kind == 6:
        head = int(rng.integers(4, HEAD))
        data[:head] = others[int(rng.integers(len(others)))][:head]
    else:
        data[at : at + length] = rng.integers(256, size=min(length, size - at), dtype=np.uint8).tobytes()
    return bytes(data)


@pytest.mark.parametrize("vad", [False, True], ids=["windows", "voice activity"])
def test_damaged_files_are_rows_and_nothing_worse(model_folder: Path, tmp_path: Path, vad: bool) -> None:
    rng = np.random.default_rng(20 + vad)
    whole = [
        encode(tmp_path / "whole" / kind, "whole", kind, make_tone(seconds=0.6, sample_rate=rate, channels=1), rate)
        for kind in ENCODERS
        for rate in (8_000, 16_000)
        if fits(kind, rate, 1) and (rate == 16_000 or kind == "amr")
    ]
    contents = [path.read_bytes() for path in whole]
    (tmp_path / "damaged").mkdir()
    recordings = []
    for number in range(DAMAGED // 2):
        source = whole[number % len(whole)]
        path = tmp_path / "damaged" / f"{number:04}{source.suffix}"
        path.write_bytes(damage(source.read_bytes(), contents, rng))
        recordings.append(path)
    before = {path: path.read_bytes() for path in recordings}
    predictor = Predictor(model_folder, window=None if vad else WINDOW, timeout=30)
    rows = list(predictor.predict_many(recordings, jobs=2))
    assert [row.file for row in rows] == [path.as_posix() for path in recordings]
    for row in rows:
        assert bool(row.error) == (row.status == "failed")
        assert "\n" not in row.error
        assert len(row.error) < 400
        assert "crashed" not in row.error
        assert "no progress" not in row.error
    # Damage in a header or a cut is found; in samples it cannot be.
    assert sum(row.status == "failed" for row in rows) > DAMAGED / 10
    assert sum(row.status != "failed" for row in rows) > DAMAGED / 10
    assert {path: path.read_bytes() for path in recordings} == before
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == [path.name for path in recordings]
