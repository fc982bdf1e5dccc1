"""RAVDESS: from file names to annotations."""

from collections import Counter
from pathlib import Path

import pytest

from sercli.corpora.corpus import Annotation, Source
from sercli.corpora.datasets import ravdess
from sercli.errors import CorpusError
from sercli.labels import EMOTIONS
from tests.corpora.files import touch


@pytest.mark.parametrize(
    ("stem", "fields"),
    [
        (
            "03-01-01-01-01-01-01",
            Annotation(
                emotion="neutral",
                speaker="ravdess-01",
                gender="male",
                intensity="normal",
                statement="kids",
                repetition="1",
            ),
        ),
        (
            "03-01-08-02-02-02-24",
            Annotation(
                emotion="surprised",
                speaker="ravdess-24",
                gender="female",
                intensity="strong",
                statement="dogs",
                repetition="2",
            ),
        ),
        ("03-02-06-01-02-01-12", None),
        ("01-01-06-01-02-01-12", None),
        ("02-02-06-01-02-01-12", None),
    ],
)
def test_ravdess_name(stem: str, fields: Annotation | None) -> None:
    assert ravdess.parse_name(stem) == fields


@pytest.mark.parametrize(("code", "emotion"), list(enumerate(EMOTIONS, start=1)))
def test_ravdess_emotion_codes(code: int, emotion: str) -> None:
    fields = ravdess.parse_name(f"03-01-{code:02}-01-01-01-01")
    assert fields is not None
    assert fields.emotion == emotion


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("", "seven numbers"),
        ("hello", "seven numbers"),
        ("03-01-06-01-02-01", "seven numbers"),
        ("03-01-06-01-02-01-12-01", "seven numbers"),
        ("03-01-06-01-02-01-12 (1)", "seven numbers"),
        ("03-01-06-01-02-01-1２", "seven numbers"),
        ("3-1-6-1-2-1-12", "seven numbers"),
        ("03-01-09-01-02-01-12", "emotion 09, expected 01 to 08"),
        ("03-01-00-01-02-01-12", "emotion 00"),
        ("03-01-06-03-02-01-12", "intensity 03, expected 01 to 02"),
        ("03-01-06-01-03-01-12", "statement 03"),
        ("03-01-06-01-02-03-12", "repetition 03"),
        ("03-01-06-01-02-01-25", "actor 25, expected 01 to 24"),
        ("03-01-06-01-02-01-00", "actor 00"),
        ("03-01-01-02-01-01-01", "neutral has no strong intensity"),
    ],
)
def test_a_name_unlike_those_of_ravdess_is_refused(stem: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        ravdess.parse_name(stem)


def test_ravdess_names_are_1440_and_all_parse() -> None:
    names = ravdess.list_names()
    fields = [ravdess.parse_name(name) for name in names]
    assert len(set(names)) == 1440
    assert Counter(field.emotion for field in fields if field) == ravdess.CORPUS.counts
    assert Counter(field.gender for field in fields if field) == {"male": 720, "female": 720}
    assert len({field.speaker for field in fields if field}) == 24


def test_ravdess_sorts_names_by_what_they_are(tmp_path: Path) -> None:
    good, song = "03-01-06-01-02-01-12", "03-02-06-01-02-01-12"
    touch(tmp_path, f"a/{good}.WAV", f"b/{good}.wav", f"{song}.wav", "notes.flac", "readme.txt", ".x.wav")
    labeling = ravdess.label(Source(folder=tmp_path))
    assert [path for path, _ in labeling.recordings] == [tmp_path / f"a/{good}.WAV"]
    assert [str(extra) for extra in labeling.extra] == [
        f"{song}.wav: belongs to another part of the corpus",
    ]
    assert [str(copy) for copy in labeling.copies] == [f"b/{good}.wav: copy of a/{good}.WAV"]
    assert [problem.file for problem in labeling.problems] == ["notes.flac"]
    assert len(labeling.missing) == 1439
    assert good not in labeling.missing


@pytest.mark.parametrize("copied", ["{} (1).wav", "{} - Copy.wav", "{} - Copy (2).wav", "{} copy.wav", "{} copy 2.wav"])
def test_files_named_like_copies_are_copies(tmp_path: Path, copied: str) -> None:
    names = ["03-01-06-01-02-01-12", "03-01-05-01-02-01-12"]
    touch(tmp_path, f"z/{names[0]}.wav", f"a/{copied.format(names[0])}", f"a/{copied.format(names[1])}")
    labeled = ravdess.label(Source(folder=tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path, _ in labeled.recordings] == [
        f"a/{copied.format(names[1])}",  # without its original, it stands for it
        f"z/{names[0]}.wav",
    ]
    assert [str(copy) for copy in labeled.copies] == [f"a/{copied.format(names[0])}: copy of z/{names[0]}.wav"]
    assert labeled.problems == ()
