"""The report as a page: what it holds, how it resumes, and what it refuses. tests/page opens it in a browser."""

import io
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sercli import predict_folder
from sercli.errors import UsageError
from sercli.labels import EMOTIONS, UNCERTAIN
from sercli.prediction import pool
from sercli.prediction.discovery import Recording
from sercli.prediction.page import ReportPage
from sercli.prediction.rows import Prediction
from sercli.prediction.summary import BatchSummary
from tests.page.many import DESCRIPTION, make_prediction, write_many
from tests.sounds import write_tone


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a/x.wav", "b/x.wav", "c.flac")):
        write_tone(tmp_path / "calls" / name, seconds=0.5 + number, frequency=200 + 90 * number, seed=number)
    (tmp_path / "calls/text.wav").write_text("no sound")
    return tmp_path / "calls"


@pytest.fixture
def options(model_folder: Path) -> dict[str, Any]:
    return {"model": model_folder, "window": 6.0, "jobs": 1}


def read(path: Path) -> dict[str, Any]:
    """The data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def without_date(path: Path) -> str:
    return re.sub(r"on \d{4}-\d\d-\d\d \d\d:\d\d", "", path.read_text(encoding="utf-8"))


def test_an_interrupted_page_resumes(calls: Path, options: dict[str, Any]) -> None:
    def interrupt(done: int, *_: float) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_folder("calls", "r.html", progress=interrupt, **options)
    assert not Path("r.html").exists()
    result = predict_folder("calls", "r.html", **options)
    assert result.finished_before == 2
    assert result.saved == (Path("r.html"), Path("r.summary.json"))
    predict_folder("calls", "whole.html", **options)
    assert without_date(Path("r.html")) == without_date(Path("whole.html"))
    assert sorted(path.name for path in Path().iterdir() if "r." in path.name) == ["r.html", "r.summary.json"]


def test_a_page_beside_another_report_changes_nothing_in_it(calls: Path, options: dict[str, Any]) -> None:
    plain = predict_folder("calls", "plain.csv", **options)
    both = predict_folder("calls", "r.csv", html="pages/r.html", **options)
    assert Path("r.csv").read_bytes() == Path("plain.csv").read_bytes()
    assert both.saved == (Path("r.csv"), Path("r.summary.json"), Path("pages/r.html"))
    assert both.summary == plain.summary
    stream = io.StringIO()
    predict_folder("calls", html="s.html", stdout=stream, **options)
    assert stream.getvalue() == Path("plain.csv").read_text()
    assert [row[1] for row in read(Path("s.html"))["rows"]] == ["x.wav", "x.wav", "c.flac", "text.wav"]
    assert read(Path("pages/r.html"))["folders"] == [
        ["calls/a", "../calls/a"],
        ["calls/b", "../calls/b"],
        ["calls", "../calls"],
    ]


def test_recordings_can_be_put_into_the_page(
    calls: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_folder("calls/a", "r.html", embed_audio=True, **options)
    ((_, _, _, link, *_),) = read(Path("r.html"))["rows"]
    assert link.startswith("data:audio/wav;base64,")
    stream = io.BytesIO((calls / "c.flac").read_bytes())
    predict_folder("-", "s.html", stdin=stream, embed_audio=True, **options)
    ((_, name, _, link, *_),) = read(Path("s.html"))["rows"]
    assert (name, link[:18]) == ("stdin", "data:audio/flac;ba")
    monkeypatch.setattr("sercli.prediction.page.MAX_EMBEDDED", 1_000)
    with pytest.raises(UsageError, match="--embed-audio is for a few recordings"):
        predict_folder("calls", "big.html", embed_audio=True, **options)
    assert not list(Path().glob("*big*"))


def test_a_recording_from_stdin_has_no_link(calls: Path, options: dict[str, Any]) -> None:
    stream = io.BytesIO((calls / "c.flac").read_bytes())
    predict_folder("-", "r.html", stdin=stream, **options)
    ((_, name, _, link, *_),) = read(Path("r.html"))["rows"]
    assert (name, link) == ("stdin", -1)


def test_a_page_of_some_emotions_says_that_the_figures_are_for_all(tmp_path: Path) -> None:
    figures = {"emobox": {"speaker_independent": True, "uar": 0.67, "uar_interval": [0.6, 0.7], "accuracy": 0.6}}
    for labels in (EMOTIONS, EMOTIONS[:2]):
        description = {**DESCRIPTION, "labels": list(EMOTIONS), "figures": figures}
        page = ReportPage(tmp_path / "r.html", labels=labels, negative=[], description=description, truth={})
        page.save(BatchSummary(labels=labels), None)
        text = (tmp_path / "r.html").read_text()
        assert "about 67 of 100 answers are right, averaged over emotions (guessing: 12.5)" in text
        limited = "with all 8 emotions of the model; this report is limited to neutral, calm" in text
        assert limited == (labels != EMOTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "r.html", "html": "s.html"}, "r.html is an HTML page already"),
        ({"out": "r.csv", "html": "s.txt"}, "--html expects a name ending in .html"),
        ({"out": "r.csv", "html": "calls"}, "--html expects a name ending in .html"),
        ({"out": "r.csv", "html": "calls/c.flac/s.html"}, "c.flac is not a folder"),
        ({"out": "r.csv", "embed_audio": True}, "--embed-audio requires an HTML page"),
        ({"out": "r.html", "segments": "r.html/t/"}, "r.html/t would lie inside the report"),
        ({"out": "r.csv", "html": "page.html", "segments": "page.html/t/"}, "would lie inside the report"),
        ({"out": "r.csv", "html": "labels.html", "labels": "labels.html"}, "labels.html is read or written already"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    calls: Path, options: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    Path("labels.html").write_text("file,emotion\ncalls/c.flac,sad\n")
    with pytest.raises(UsageError, match=re.escape(message)):
        predict_folder("calls", **arguments, **options)
    assert sorted(path.name for path in Path().iterdir()) == ["calls", "labels.html"]
    assert pool._idle == []  # workers that were started ahead would work in this folder for ever


def test_every_kind_of_row_has_its_place(tmp_path: Path) -> None:
    sure = make_prediction("a.wav", random.Random(1), EMOTIONS, 4)
    rows = [
        replace(sure, warnings=("clipped (3%)", "noisy")),
        replace(sure, file="b.wav", emotion=UNCERTAIN),
        Prediction(file="c.wav", status="no-speech", start=0.0, end=2.0, duration=2.0, speech=0.0),
        Prediction(file="d.wav", status="failed", error="is an <empty> file (0 bytes)"),
    ]
    page = ReportPage(
        tmp_path / "r.html", labels=EMOTIONS, negative=(), description={"labels": list(EMOTIONS)}, truth={}
    )
    summary = BatchSummary(labels=EMOTIONS)
    for row in rows:
        summary.add_recording((row,))
        page.add_recording(Recording(path=Path(row.file), name=row.file), [row])
    page.save(summary, None)
    data = read(tmp_path / "r.html")
    assert [row[5][0][1] for row in data["rows"]] == [EMOTIONS.index(sure.emotion), -1, -2, -3]
    assert data["kinds"] == ["clipped", "noisy", "an <empty> file"]
    assert data["rows"][0][5][0][5] == [[0, "clipped (3%)"], [1, 0]]
    assert data["rows"][3][6] == [2, "an <empty> file (0 bytes)"]
    text = (tmp_path / "r.html").read_text()
    assert "No test of this model on unseen speakers is recorded." in text
    assert "an &lt;empty&gt; file" in text
    assert "<empty>" not in text


@pytest.mark.parametrize(
    ("corpora", "expected"),
    [
        (("ravdess",), ("Expect much less on real calls.", "Training data: ravdess, all acted.")),
        (("csv",), ("Expect much less on speech unlike its training data.", "Training data: csv.")),
    ],
)
def test_the_page_quotes_a_test_on_unseen_speakers(
    tmp_path: Path, corpora: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    score = {"uar": 0.9, "uar_interval": [0.8, 1.0], "accuracy": 0.9}
    figures = {
        "split": {**score, "speaker_independent": False},
        "cross-a-to-b": {**score, "uar": 0.71, "speaker_independent": True, "labels": list(EMOTIONS[:5])},
        "loso": {**score, "uar": 0.61, "speaker_independent": True, "labels": list(EMOTIONS)},
    }
    data = {name: {"utterances": 10, "speakers": 2, "language": ""} for name in corpora}
    description = {"labels": list(EMOTIONS), "figures": figures, "training_data": data}
    page = ReportPage(tmp_path / "r.html", labels=EMOTIONS, negative=(), description=description, truth={})
    page.save(BatchSummary(labels=EMOTIONS), None)
    text = (tmp_path / "r.html").read_text()
    known = 'may be in the training data <span class="soft">(split)'
    for part in ("On unseen speakers, about 61 of 100", known, *expected):
        assert part in text


def test_a_model_without_optional_facts_has_a_page(tmp_path: Path) -> None:
    facts = {
        "figures": {"loso": {"uar_interval": [None, None]}},
        "training_data": {"a": {"utterances": 1, "speakers": 1}},
    }
    description = {**DESCRIPTION, "labels": list(EMOTIONS), **facts}
    page = ReportPage(tmp_path / "r.html", labels=EMOTIONS, negative=(), description=description, truth={})
    page.save(BatchSummary(labels=EMOTIONS), None)
    assert "(loso)" in (tmp_path / "r.html").read_text()


def test_a_thousand_recordings_take_less_than_a_megabyte(tmp_path: Path) -> None:
    """Each with a timeline of some three minutes, of random numbers, which compress worse than those of recordings."""
    assert write_many(tmp_path / "r.html", 1_000, segments=60).stat().st_size < 950_000
