"""Ogg files that end too early, wherever they are cut."""

from pathlib import Path

import pytest

from sercli.audio.decode import AudioReader, read_facts
from sercli.errors import AudioError
from tests.sounds import write_tone


def read_seconds(path: Path) -> tuple[float, tuple[str, ...]]:
    reader = AudioReader(path)
    return sum(len(block) / rate for block, rate in reader), reader.warnings


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.7, 0.85, 0.95, 0.9999])
def test_cut_ogg_is_read_as_far_as_it_goes(tmp_path: Path, kept: float) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    seconds, warnings = read_seconds(path)
    assert 6 * kept - 2.5 < seconds < 6
    assert warnings == ("cut short: the file ends in the middle of a packet",)
    with pytest.raises(AudioError, match="cut short"):
        read_facts(path)


@pytest.mark.parametrize("kept", [0.01, 0.1])
def test_ogg_cut_in_its_header_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_facts(path)


@pytest.mark.parametrize("beyond", [0, 1, 3, 4, 26, 27, 40])
def test_ogg_cut_around_the_start_of_a_page_keeps_all_pages_before(tmp_path: Path, beyond: int) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS") + beyond])
    seconds, warnings = read_seconds(path)
    assert 3 < seconds < 6
    # Between two pages, nothing is missing but the mark of the end, which not all programs write.
    assert bool(warnings) == bool(beyond)


def test_tag_behind_the_stream_does_no_harm(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    facts = read_facts(path)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert read_facts(path) == facts
