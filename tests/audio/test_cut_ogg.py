"""Ogg files that end too early, wherever they are cut."""

from pathlib import Path

import pytest

from sercli.audio.decode import read_facts
from sercli.errors import AudioError
from tests.sounds import write_tone


@pytest.mark.parametrize("kept", [0.01, 0.2, 0.3, 0.5, 0.7, 0.85, 0.95, 0.9999])
def test_cut_ogg_is_refused(tmp_path: Path, kept: float) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match=r"cut short|cannot be decoded|that can be decoded"):
        read_facts(path)


@pytest.mark.parametrize("beyond", [0, 1, 3, 4, 26, 27, 40])
def test_ogg_cut_around_the_start_of_a_page_is_refused(tmp_path: Path, beyond: int) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS") + beyond])
    with pytest.raises(AudioError, match="cut short"):
        read_facts(path)


def test_tag_behind_the_stream_does_no_harm(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.ogg", seconds=6)
    facts = read_facts(path)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert read_facts(path) == facts
