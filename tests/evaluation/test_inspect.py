"""Statistics of an index, and issues to check before training."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sercli.corpora.index import Index, Utterance, read_index
from sercli.errors import UsageError
from sercli.evaluation.index_statistics import Inspection, inspect_index
from sercli.evaluation.inspect import inspect, write_inspection_page
from sercli.evaluation.label_errors import LabelError
from tests.sounds import write_sound, write_tone


def find(inspection: Inspection, kind: str) -> list[str]:
    return [name for issue in inspection.issues if kind in issue.kind for name in issue.names]


def make_index(folder: Path) -> Index:
    """Seven recordings, each with an issue."""
    write_tone(folder / "good.wav", seconds=0.6)
    write_tone(folder / "short.wav", seconds=0.2)
    write_tone(folder / "slow.wav", seconds=0.6, sample_rate=8_000)
    write_tone(folder / "loud.wav", seconds=0.6, level=3.0)
    write_sound(folder / "silent.wav", np.zeros(10_000))
    write_sound(folder / "hiss.wav", 0.1 * np.random.default_rng(0).standard_normal(10_000))
    rows = [
        ("good.wav", "a", "happy", 0.6, 16_000, ""),
        ("gone.wav", "a", "happy", 0.6, 16_000, ""),
        ("hiss.wav", "a", "sad", 0.6, 16_000, ""),
        ("loud.wav", "b", "sad", 0.6, 16_000, ""),
        ("short.wav", "b", "sad", 0.2, 16_000, ""),
        ("silent.wav", "c", "fed up", 40.0, 16_000, ""),
        ("slow.wav", "", "sad", 0.6, 8_000, "good.wav"),
    ]
    return Index(
        folder=folder,
        utterances=tuple(
            Utterance(
                file=file,
                corpus="csv" if file < "m" else "more",
                speaker=speaker,
                gender="female" if speaker == "a" else "",
                emotion=emotion,
                duration=duration,
                sample_rate=rate,
                channels=1,
                duplicate_of=original,
            )
            for file, speaker, emotion, duration, rate, original in rows
        ),
    )


@pytest.fixture(scope="module")
def inspection(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    return inspect_index(make_index(tmp_path_factory.mktemp("odd")))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("cannot be read", ["gone.wav: "]),
        ("silent", ["silent.wav"]),
        ("clipped", ["loud.wav ("]),
        ("SNR below", ["good.wav (", "hiss.wav (", "loud.wav (", "short.wav (", "slow.wav ("]),
        ("shorter than", ["short.wav (0.20 s)"]),
        ("longer than", ["silent.wav (40 s)"]),
        ("sample rate below", ["slow.wav (8000 Hz)"]),
        ("duplicates", ["slow.wav = good.wav"]),
        ("same sound with different labels", ["good.wav (happy, sad)"]),
        ("speakers with one label only", ["b (sad)", "c (fed up)"]),
        ("labels that only one speaker has", ["happy (a)", "fed up (c)"]),
        ("labels that only one corpus has", ["happy (csv)", "fed up (more)"]),
        ("labels with fewer than", ["happy (2)", "sad (4)", "fed up (1)"]),
        ("unknown speaker", ["1 of 7 utterances"]),
    ],
)
def test_issues_are_named(inspection: Inspection, kind: str, names: list[str]) -> None:
    found = find(inspection, kind)
    assert len(found) == len(names)
    for each, name in zip(found, names, strict=True):
        assert each.startswith(name)


def test_counts_of_labels_speakers_and_formats(inspection: Inspection) -> None:
    assert inspection.labels == {
        "happy": {"": 0, "female": 2, "all": 2, "speakers": 1},
        "sad": {"": 3, "female": 1, "all": 4, "speakers": 2},
        "fed up": {"": 1, "female": 0, "all": 1, "speakers": 1},
    }
    assert inspection.speakers == {"a": {"happy": 2, "sad": 1}, "b": {"sad": 2}, "c": {"fed up": 1}}
    assert inspection.formats == {"16000 Hz, 1 ch": 6, "8000 Hz, 1 ch": 1}
    assert inspection.quantiles["duration"]["median"] == 0.6
    assert inspection.quantiles["peak"]["max"] == pytest.approx(0, abs=0.1)
    assert inspection.stored is None
    assert "needs the speaker of every utterance" in inspection.no_folds
    assert json.loads(json.dumps(inspection.to_dict()))["utterances"] == 7


def test_toy_corpus_has_folds_and_no_issues(data: Path) -> None:
    index = read_index(data / "index.csv")
    inspection = inspect_index(index, store=data / "features.h5", jobs=2)
    assert {issue.kind for issue in inspection.issues} <= {"SNR below 15 dB"}  # it has no pauses
    assert [fold["test"] for fold in inspection.folds] == [16] * 6
    assert inspection.stored is not None
    assert inspection.stored["utterances"] == len(index) == 96
    assert 0 < inspection.stored["speech"] <= inspection.hours * 3600


def test_inspect_writes_what_it_returns(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[int, int]] = []
    inspection = inspect(
        str(data / "index.csv"),
        str(data / "features.h5"),
        out=str(tmp_path / "i.json"),
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(done, 96) for done in range(1, 97)]
    assert inspection.stored is not None
    assert json.loads((tmp_path / "i.json").read_text()) == json.loads(json.dumps(inspection.to_dict()))
    assert inspect(data / "index.csv", corpora=["ravdess"], progress=True) == replace(inspection, stored=None)
    assert "inspect: 100%" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"--out takes a name ending in .html or .json, found 'i'"):
        inspect(tmp_path / "index.csv", out="i")


def test_recordings_that_were_moved_are_still_in_the_store(data: Path) -> None:
    index = read_index(data / "index.csv")
    moved = replace(index, utterances=tuple(replace(u, file=f"moved/{u.file}") for u in index.utterances))
    stored = [inspect_index(each, store=data / "features.h5").stored for each in (index, moved)]
    assert stored[0] == stored[1]
    assert stored[0]
    assert stored[0]["utterances"] == len(index)


def test_labels_that_few_speakers_have(data: Path) -> None:
    index = read_index(data / "index.csv")

    def limit_sad(*speakers: str) -> Inspection:
        rows = [u for u in index.utterances if u.emotion != "sad" or u.speaker[-2:] in speakers]
        return inspect_index(Index(folder=index.folder, utterances=tuple(rows)))

    folds = limit_sad("01", "02", "03", "04").folds
    assert [fold["test_speakers"][0][-2:] for fold in folds if fold["test_lacks"] == ["sad"]] == ["06", "05"]
    assert "no utterance of 'sad' for training" in limit_sad("01").no_folds


def test_page_shows_everything_and_escapes_it(inspection: Inspection, tmp_path: Path) -> None:
    error = LabelError(file="<b>.wav", speaker="", label="sad", suggested="happy", p_label=0.1, p_suggested=0.9)
    write_inspection_page(tmp_path / "page.html", replace(inspection, label_errors=(error,), tested=6))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "7 labeled recordings" in page
    for text in (
        "fed up",
        "1 of 6 tested recordings, by confident learning",
        "gone.wav: ",
        "needs the speaker of every utterance",
        "&lt;b&gt;.wav",
        "16000 Hz, 1 ch",
    ):
        assert text in page
    assert "<b>.wav" not in page
    assert page.count("<figure>") == 3
    assert len(re.findall("<rect x=", page)) >= 3 * 30
