"""nEMO: from the rows of its table to annotations."""

from pathlib import Path

import pytest

from sercli.corpora.corpus import Annotation, Source
from sercli.corpora.datasets import nemo
from sercli.errors import CorpusError
from tests.corpora.files import touch

NEMO_HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def nemo_row(name: str, emotion: str = "anger", text: str = "Tekst", speaker: str = "        WR0") -> str:
    return f"{name}\t{emotion}\t{text}\ttekst\t{speaker}\tmale\t23\n"


def make_nemo(folder: Path, *rows: str, header: str = NEMO_HEADER) -> Source:
    folder.mkdir(exist_ok=True)
    (folder / "data.tsv").write_text(header + "".join(rows), encoding="utf-8")
    return Source(folder=folder)


def test_nemo_rows(tmp_path: Path) -> None:
    # A stray quote begins the sentence of the first row, and must not swallow the second.
    rows = (nemo_row("WR0_anger_1.wav", text='"Tekst'), nemo_row("WR0_fear_2.wav", "fear", text='a "b"'))
    touch(tmp_path, "samples/WR0_anger_1.ogg", "samples/WR0_fear_2.flac", "samples/WR0_fear_3.ogg")
    labeling = nemo.label(make_nemo(tmp_path, *rows, nemo_row("WR0_anger_4.wav")))
    assert labeling.recordings == (
        (
            tmp_path / "samples/WR0_anger_1.ogg",
            Annotation(emotion="angry", speaker="nemo-WR0", gender="male", statement="1"),
        ),
        (
            tmp_path / "samples/WR0_fear_2.flac",
            Annotation(emotion="fearful", speaker="nemo-WR0", gender="male", statement="2"),
        ),
    )
    assert labeling.missing == ("WR0_anger_4",)
    assert [str(extra) for extra in labeling.extra] == ["samples/WR0_fear_3.ogg: not in data.tsv"]
    assert labeling.problems == ()


def test_invalid_rows_of_nemo_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.ogg", "b.ogg", "c.ogg")
    rows = [nemo_row("a.wav", "joy"), nemo_row("b.wav", speaker=""), nemo_row("c.wav"), nemo_row("c.wav")]
    labeling = nemo.label(make_nemo(tmp_path, *rows))
    assert [path.name for path, _ in labeling.recordings] == ["c.ogg"]
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in labeling.problems] == [
        f"data.tsv, line 2: unknown emotion 'joy', expected one of {', '.join(nemo.LABEL_MAP)}",
        "data.tsv, line 3: no speaker_id",
        "data.tsv, line 5: c appears twice",
    ]
    assert labeling.extra == ()


def test_nemo_without_its_table(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no data\.tsv under"):
        nemo.label(Source(folder=touch(tmp_path, "a.ogg")))


def test_second_copy_of_a_recording_does_not_count(tmp_path: Path) -> None:
    touch(tmp_path, "nemo/samples/a.ogg", "samples/a.ogg")
    labeled = nemo.label(make_nemo(tmp_path, nemo_row("a.wav")))
    assert [path.relative_to(tmp_path).as_posix() for path, _ in labeled.recordings] == ["nemo/samples/a.ogg"]
    assert [str(copy) for copy in labeled.copies] == ["samples/a.ogg: copy of nemo/samples/a.ogg"]
