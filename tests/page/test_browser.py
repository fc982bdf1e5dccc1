"""The report as people use it: in a real Chromium, from disk."""

import contextlib
import random
import re
import shlex
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sercli import predict_folder
from sercli.audio.envelope import LEVELS
from sercli.labels import EMOTIONS, NEGATIVE
from tests.command import run_sercli
from tests.page.conftest import HOSTILE, OpenPage
from tests.page.many import LABELS as OTHER_LABELS
from tests.page.many import make_prediction, write_many
from tests.sounds import write_tone
from tests.toy_model import make_model

MANY_LABELS = tuple(f"label {number}" for number in range(200))

PROJECT = Path(__file__).parents[2]
TOTAL = len(HOSTILE) + 4
CONTRAST = ["color-contrast"]  # the one rule that depends on the color scheme


def list_names(page: Any) -> list[str]:
    names: list[str] = page.locator("#rows tr[data-row] button").all_inner_texts()
    return names


def open_row(page: Any, name: str) -> Any:
    page.locator("#rows tr[data-row]", has_text=name).first.locator("button").click()
    return page.locator("dialog[open]")


def test_it_opens_and_shows_every_recording_as_it_is_named(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    shown = list_names(page)
    assert len(shown) == TOTAL
    assert page.locator("#count").inner_text() == f"{TOTAL} recordings"
    for name in HOSTILE:
        expected = name.rsplit("/", 1)[1].replace("\udce9", "\\xe9")
        assert expected in shown
    assert page.evaluate("window.hacked") is None
    assert page.locator("#rows img, #rows script").count() == 0


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on this host; yields its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def measure_lengths(page: Any) -> Any:
    return page.evaluate(
        """() => Promise.all(RECORDINGS.filter((it) => !it.failed).map((it) => new Promise((resolve) => {
            const audio = new Audio(it.source);
            audio.onloadedmetadata = () => resolve(Math.abs(audio.duration - it.duration) < 0.1);
            audio.onerror = () => resolve(it.source);
        })))"""
    )


def test_every_recording_plays_from_where_it_lies(report: Path, open_page: OpenPage) -> None:
    assert measure_lengths(open_page(report)) == [True] * (TOTAL - 1)
    with serve(report.parents[1]) as address:
        served = measure_lengths(open_page(report, f"{address}/out/report.html"))
    # Python's server cannot find a name that is not UTF-8.
    assert [length for length in served if length is not True] == ["../in/calls/caf%E9.wav"]


def test_no_recording_of_another_host_is_loaded(report: Path, browser: Any) -> None:
    with serve(report.parents[1]) as address, contextlib.closing(browser.new_page()) as page:
        page.goto(report.as_uri())
        heard = """(source) => new Promise((resolve) => {
            const audio = new Audio(source);
            audio.onloadedmetadata = () => resolve(true);
            audio.onerror = () => resolve(false);
        })"""
        assert page.evaluate(heard, f"{address}/in/silence.wav") is False


def test_it_sorts(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    head = page.locator("th[data-column=confidence]")
    for direction in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        cells = page.locator("#rows tr[data-row] td:nth-child(4)").all_inner_texts()
        shares = [min(map(int, re.findall(r"\d+", cell))) for cell in cells if cell.strip()]
        assert len(shares) == TOTAL - 2  # all but silence and the one that failed, which come last
        assert shares == sorted(shares, reverse=direction == "descending")
        assert not "".join(cells[-2:]).strip()
    page.locator("th[data-column=duration]").get_by_role("button").click()
    assert list_names(page)[0] == "two sides.wav"
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("() => !table.order && !$('th[aria-sort=descending]')")
    assert page.evaluate("table.shown") == list(range(TOTAL))


def test_it_filters(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    page.fill("[name=text]", "καλη")
    assert list_names(page) == ["Καλημέρα 😀 it's.wav"]
    page.fill("[name=text]", "nothing is named so")
    assert "No recording fits" in page.locator("#rows").inner_text()
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function(f"() => table.shown.length === {TOTAL}")
    for name, value, expected in (
        ("result", "failed", ["broken.mp3"]),
        ("result", "no speech", ["silence.wav"]),
        ("folder", page.evaluate("DATA.folders.findIndex(([name]) => name.includes('javascript:'))"), ["a.wav"]),
        ("kind", "doubt", ["loud.wav"]),
        ("kind", page.evaluate("DATA.kinds.indexOf('clipped')"), ["loud.wav"]),
    ):
        page.select_option(f"[name={name}]", str(value))
        assert list_names(page) == expected, name
        page.select_option(f"[name={name}]", "")
    page.fill("[name=least]", "100")
    assert len(list_names(page)) < TOTAL
    page.locator("#problems [data-kind]", has_text="clipped").click()
    page.wait_for_function("() => table.shown.length === 1")
    assert page.locator("#count").inner_text() == f"1 of {TOTAL} recordings"
    assert page.locator("#filtered").is_hidden()
    page.emulate_media(media="print")
    assert page.locator("#filtered").inner_text() == f"Filter: problem clipped, 1 of {TOTAL} recordings"


def test_the_number_of_recordings_beside_a_link_is_how_many_it_shows(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    links = page.locator(".fact:has(.link), #main .plain tr:has(.link)")
    assert links.count() > 5
    for link in links.all():
        count = next(int(word) for word in re.findall(r"(\d+)(?!\s*%|\d|\s*channels)", link.inner_text()) if int(word))
        link.get_by_role("button").click()
        page.wait_for_function(f"() => table.shown.length === {count}")
    empty = page.locator("#main .plain tr", has=page.locator("td:nth-last-child(2):text-is('0')"))
    assert empty.get_by_role("button").count() == 0


def test_channels_of_a_call_are_compared(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    cells = page.locator("#rows tr[data-row]", has_text="two sides.wav").locator("td").all_inner_texts()
    assert cells[1].split() == ["1", "2"]
    one, two = page.evaluate("RECORDINGS.find((it) => it.sides.length > 1).sides.map((side) => side.negative)")
    assert re.findall(r"\d+", cells[-3]) == [page.evaluate(f"({100 * share}).toFixed(0)") for share in (one, two)]
    for more, expected in (("1", one > two), ("2", two > one)):
        page.select_option("[name=negative]", more)
        assert list_names(page) == ["two sides.wav"] * expected


def test_a_call_opens_with_a_timeline_per_side_and_plays_from_a_click(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    dialog = open_row(page, "two sides.wav")
    assert dialog.locator(".side").all_inner_texts()[0].startswith("Channel 1")
    assert dialog.locator(".side .ribbon rect").count() > 3
    assert dialog.locator(".side .wave rect").count() == 400
    verdict = dialog.locator(".verdict").inner_text()
    rated = re.findall(r"(\d+)% \((\w+)\)", verdict)
    assert rated
    for share, word in rated:
        assert word == ("low" if int(share) < 50 else "medium" if int(share) <= 75 else "high")
    assert "channel 2" in verdict
    assert "shorter than a minute" in dialog.inner_text()
    assert page.evaluate("getComputedStyle(document.documentElement).overflow") == "hidden"
    box = dialog.locator("#sheet").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.9)
    tip = page.locator("#tip").inner_text()
    assert tip.startswith("0:06.0 channel 2")
    assert sum(map(int, re.findall(r"(\d+)%", tip))) == pytest.approx(100, abs=4)
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.9)
    page.wait_for_function("() => { const a = $('dialog audio'); return !a.paused && a.currentTime > 6; }")
    assert page.evaluate("document.querySelector('dialog audio').currentTime") < 12
    page.keyboard.press("Escape")
    page.wait_for_function("() => $('dialog audio').paused")


def test_the_strongest_segment_opens_where_it_is(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    page.select_option("#measure", label="sad")
    first = page.locator("#jumps button").first
    assert " sad" in first.inner_text()
    at = float(first.get_attribute("data-at"))
    best = page.evaluate(f"Math.max(...details.percentages.filter((_, n) => n % {len(EMOTIONS)} === 3))")
    assert first.inner_text().startswith(f"{best}%")
    first.click()
    page.wait_for_function(f"() => $('dialog audio').currentTime >= {at}")


def test_segments_of_negative_emotions_are_named_for_what_they_are(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    assert re.match(r"\d+% negative, mostly\s+(sad|angry|fearful|disgust)", page.locator("#jumps").inner_text())


def test_the_minute_of_an_emotion_is_that_of_one_channel(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write_many(tmp_path / "r.html", 1, segments=60))
    page.evaluate("""() => {
        const own = [[0, 30, 90], [40, 70, 10]].map(([start, end, share], n) => ({ n, start, end, share }));
        details.share = (n) => own[n].share / 100;
        window.minute = strongestMinute({ duration: 80 }, own.map((each) => ({ segments: [each] })), 0);
    }""")
    assert page.evaluate("[minute.start, minute.end, minute.share]") == [0, 60, 0.9]


def test_a_printed_call_says_how_far_to_trust_it(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    dialog = open_row(page, "two sides.wav")
    assert "How far to trust it" not in dialog.inner_text()
    page.emulate_media(media="print")
    printed = dialog.inner_text()
    for part in ("How far to trust it", "to make decisions about people", "Made by sercli"):
        assert part in printed


def test_nothing_is_wider_than_a_narrow_window(report: Path, open_page: OpenPage) -> None:
    page = open_page(report, viewport={"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert page.evaluate(
        "[...document.querySelectorAll('.card, .fact')].every((e) => e.getBoundingClientRect().right <= 420)"
    )
    dialog = open_row(page, "two sides.wav")
    assert page.evaluate("$('dialog').scrollWidth <= $('dialog').clientWidth")
    assert dialog.locator("h2").bounding_box()["width"] > 250


def test_wrong_answers_and_failures_are_named(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    assert page.locator("#labels .matrix tbody tr").count() == 2
    page.get_by_role("button", name="Show the wrong ones").click()
    page.wait_for_function("() => table.shown.length < 3")
    assert set(list_names(page)) <= {"two sides.wav", "loud.wav"}
    page.locator(".fact", has_text="failed").get_by_role("button").click()
    page.wait_for_function("() => table.shown.length === 1 && RECORDINGS[table.shown[0]].failed")
    assert list_names(page) == ["broken.mp3"]
    page.evaluate("filters.reset()")
    page.wait_for_function("() => table.shown.length > 3")
    dialog = open_row(page, "broken.mp3")
    assert "Failed: not a sound file" in dialog.inner_text()
    assert dialog.locator("audio").count() == 0


def test_an_uncertain_answer_is_neither_right_nor_wrong(
    open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tone(Path("a.wav"), seconds=0.5)
    Path("labels.csv").write_text("file,emotion\na.wav,sad\n")
    predict_folder("a.wav", "r.html", labels="labels.csv", min_confidence=1.0, vad="off")
    page = open_page(tmp_path / "r.html")
    for value in ("right", "wrong"):
        page.evaluate(f"filters.result.value = '{value}'; applyFilters()")
        assert page.evaluate("table.shown.length") == 0


def test_without_negative_labels_they_are_not_mentioned(
    open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tone(Path("a.wav"), seconds=0.5)
    Path("b.wav").write_text("no sound")
    predict_folder(["a.wav", "b.wav"], "r.html", negative=[], vad="off")
    page = open_page(tmp_path / "r.html")
    assert list_names(page) == ["a.wav", "b.wav"]
    cells = page.locator("#rows tr[data-row]").first.locator("td").count()
    assert page.locator("#rows thead th").count() == cells
    assert "egative" not in page.locator("#recordings").inner_text()


def test_the_keyboard_is_enough(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    page.focus("#rows")
    page.keyboard.press("Tab")  # the heads of six columns come first
    for _ in range(6):
        page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.activeElement.closest('tr')?.dataset.row === '3'")
    page.keyboard.press("Enter")
    assert page.locator("dialog[open] h2").inner_text() == page.evaluate("RECORDINGS[3].name")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.closest('tr')?.dataset.row === '3'")


@pytest.mark.parametrize(("scheme", "rules", "name"), [("light", [], "two sides.wav"), ("dark", CONTRAST, "loud.wav")])
def test_axe_finds_no_serious_fault(
    report: Path, open_page: OpenPage, scheme: str, rules: list[str], name: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = open_page(report, color_scheme=scheme, bypass_csp=True)
    for context in ("body", "dialog"):
        if context == "dialog":
            open_row(page, name)
        options = {"runOnly": rules} if rules else {}
        faults = axe.run(page, context=context, options=options).response["violations"]
        serious = [fault for fault in faults if fault["impact"] in {"serious", "critical"}]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in serious] == []


def test_all_rows_are_printed(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write_many(tmp_path / "r.html", 300))
    assert page.locator("#rows tr[data-row]").count() < 60
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#rows tr[data-row]").count() == 300
    assert page.locator("#filters").is_hidden()


def test_no_column_is_cut_off_in_print(report: Path, open_page: OpenPage) -> None:
    page = open_page(report, viewport={"width": 695, "height": 1000})
    page.emulate_media(media="print")
    cut = """() => [...document.querySelectorAll('main *')].filter((each) =>
        getComputedStyle(each).overflowX !== 'visible' && each.scrollWidth > each.clientWidth + 1
        && each.tagName !== 'svg' && !each.closest('svg, select')).map((each) => each.outerHTML.slice(0, 99))"""
    assert page.evaluate(cut) == []
    # Chromium repeats no buttons on later pages.
    assert set(page.locator("#rows th button").evaluate_all("all => all.map((e) => getComputedStyle(e).display)")) == {
        "contents"
    }


def test_ten_thousand_recordings_stay_usable(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write_many(tmp_path / "r.html", 10_000, segments=1))
    drawn = page.locator("#rows tr[data-row]")
    assert drawn.count() < 60
    page.evaluate("document.querySelector('#rows').scrollTop = 1e9")
    page.wait_for_selector("tr[data-row='9999']")
    assert drawn.count() < 60
    page.locator("th[data-column=name]").get_by_role("button").click()
    page.locator("th[data-column=name]").get_by_role("button").click()
    assert list_names(page)[0] == "recording 9999.wav"
    page.fill("[name=text]", "recording 123")
    assert page.locator("#count").inner_text() == "10 of 10000 recordings"
    page.locator("#rows tr[data-row]").first.locator("button").click()
    assert page.locator("dialog[open] .side").count() == 1


def test_percentages_are_those_of_the_exact_values(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write_many(tmp_path / "r.html", 300, segments=1))
    rng = random.Random(0)
    rows = [make_prediction("", rng, EMOTIONS, 1) for _ in range(300)]
    shown = page.evaluate("RECORDINGS.map((it) => [percent(it.confidence), percent(it.negative)])")
    negative = [sum(row.probabilities[EMOTIONS.index(label)] for label in NEGATIVE) for row in rows]
    assert shown == [[f"{row.confidence:.0%}", f"{share:.0%}"] for row, share in zip(rows, negative, strict=True)]
    segments = page.evaluate(
        "RECORDINGS.map((_, n) => [...LABELS.keys(), NEGATIVE].map((label) => percent(details.share(n, label))))"
    )
    assert segments == [
        [f"{value:.0%}" for value in (*row.probabilities, share)] for row, share in zip(rows, negative, strict=True)
    ]


def test_labels_named_like_results_are_labels(open_page: OpenPage, tmp_path: Path) -> None:
    labels = ("failed", "no-speech", "right", "wrong", "calm")
    page = open_page(write_many(tmp_path / "r.html", 200, labels=labels, segments=1))
    rng = random.Random(0)
    counts = Counter(make_prediction("", rng, labels, 1).emotion for _ in range(200))
    facts = page.locator(".fact").all_inner_texts()
    assert [fact.split("\n") for fact in facts[1:4]] == [
        ["200", "with an emotion"],
        ["0", "without speech"],
        ["0", "failed"],
    ]
    for label, count in counts.items():
        page.select_option("[name=result]", label=label)
        assert page.locator("#count").inner_text() == f"{count} of 200 recordings"
        page.get_by_role("button", name="Show all").click()
        page.locator("#h-shares ~ .scroll").get_by_role("button", name=label, exact=True).click()
        page.wait_for_function(f"() => $('#count').textContent === '{count} of 200 recordings'")


@pytest.mark.parametrize("labels", [EMOTIONS, MANY_LABELS], ids=len)
def test_timelines_are_those_of_the_recordings(open_page: OpenPage, tmp_path: Path, labels: tuple[str, ...]) -> None:
    page = open_page(write_many(tmp_path / "r.html", 3, labels=labels, segments=300))
    rng = random.Random(0)
    for row in range(3):
        expected = make_prediction("", rng, labels, 300)
        found = page.evaluate(
            f"details.segments({row}).map(({{start, end, result, n}}) =>"
            " [start, end, result, ...details.ofSegment(n).map(([share]) => share)])"
        )
        times, results, shares = np.split(np.array(found), [2, 3], axis=1)
        assert times == pytest.approx(np.array([[s.start, s.end] for s in expected.segments]), abs=0.051)
        assert results[:, 0].tolist() == [labels.index(s.emotion) for s in expected.segments]
        assert shares == pytest.approx(np.array([s.probabilities for s in expected.segments]), abs=0.0051)
        assert page.evaluate(f"Array.from(details.envelope({row}))") == [
            LEVELS.index(level) for level in expected.envelope
        ]


def test_it_says_how_usual_a_recording_is_and_what_not_to_believe(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write_many(tmp_path / "r.html", 200))
    page.locator("th[data-column=typicality]").get_by_role("button").click()
    cells = page.locator("#rows tr[data-row] td:nth-child(4)")
    shown = [float(text.removesuffix("%")) for text in cells.all_inner_texts()]
    assert shown == sorted(shown)
    doubted = cells.locator(".doubt").count()
    assert 0 < doubted == sum(share < 2 for share in shown)
    assert page.locator(".note", has_text="Check the results: ").count() == 0
    dialog = open_row(page, list_names(page)[0])
    assert f"typicality {shown[0]}" in dialog.locator("header").inner_text()


def test_labels_are_those_of_the_model(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page(write_many(tmp_path / "r.html", 20, labels=OTHER_LABELS))
    assert [option.strip() for option in page.locator("#measure option").all_inner_texts()] == [
        "negative emotions",
        *OTHER_LABELS,
    ]
    assert page.locator("#legend").inner_text().split("\n")[: len(OTHER_LABELS)] == list(OTHER_LABELS)


def test_recordings_in_the_page_play_wherever_it_is(open_page: OpenPage, tmp_path: Path) -> None:
    write_tone(tmp_path / "a.flac", seconds=1)
    page_path = tmp_path / "elsewhere/r.html"
    predict_folder(
        tmp_path / "a.flac", page_path, model=make_model(tmp_path / "model"), window=2.0, jobs=1, embed_audio=True
    )
    (tmp_path / "a.flac").unlink()
    page = open_page(page_path)
    open_row(page, "a.flac").locator(".link[data-at]").first.click()
    page.wait_for_function("() => $('dialog audio').currentTime > 0.2")
    assert page.evaluate("$('dialog audio').error") is None


def test_the_page_of_the_demo_shows_the_samples(open_page: OpenPage, tmp_path: Path) -> None:
    command = re.search(r"sercli (predict samples .*)", (PROJECT / "Makefile").read_text())
    assert command
    shutil.copytree(PROJECT / "samples", tmp_path / "samples")
    assert run_sercli(*shlex.split(command[1]), cwd=tmp_path)[0] == 0
    page = open_page(tmp_path / "demo.html")
    assert page.locator("h1").inner_text() == "Emotions in 12 recordings"
    assert "Check the results: 12 of 12 are" in page.locator(".note").first.inner_text()
    dialog = open_row(page, "stereo.flac")
    assert dialog.locator(".side").count() == 2
    assert "Check this result: unlike the training data" in dialog.inner_text()
