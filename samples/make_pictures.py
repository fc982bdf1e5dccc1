"""Makes the pictures of README and of the model card: ``python samples/make_pictures.py data/ravdess``.

Joins clips of RAVDESS to calls of two actors, scores them, and takes the picture of the report in Chromium. Needs
Playwright, Chromium and a copy of RAVDESS, none of which goes into the pictures but as lines and bars. The picture of
an explanation is of a computer voice.
"""

import contextlib
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from sercli import predict_folder
from sercli.corpora.datasets.ravdess import parse_name
from sercli.files import write_by_rename, write_json
from sercli.labels import EMOTIONS
from sercli.models.card import render_card
from sercli.models.folder import CARD_FILE, DEFAULT_MODEL, JSON_FILE, read_description
from sercli.plots import save_confusion
from sercli.prediction.explain import explain, write_explanation

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parent / "tests/benchmarks/results"
LARGEST = 200_000  # bytes of a picture
CALLS = {
    "delivery is late.flac": ("neutral", "calm", "angry"),
    "order arrived.flac": ("neutral", "happy", "surprised"),
    "refund.flac": ("neutral", "sad", "disgust"),
    "account locked.flac": ("calm", "fearful", "neutral"),
    "new address.flac": ("neutral", "calm", "happy"),
    "cancellation.flac": ("angry", "disgust", "calm"),
}
TURNS = 56  # utterances of a call


def join_call(clips: dict[str, list[Path]], moods: tuple[str, ...], path: Path, rng: random.Random) -> None:
    """Writes a call of two actors in turn, each on a side, whose moods change a little at a time."""
    sides: list[list[np.ndarray]] = [[], []]
    sample_rate = soundfile.info(clips["neutral 0"][0]).samplerate
    for turn in range(TURNS):
        mood = moods[min(len(moods) - 1, turn * len(moods) // TURNS)] if turn % 2 else rng.choice(("neutral", "calm"))
        signal, _ = soundfile.read(rng.choice(clips[f"{mood} {turn % 2}"]), dtype="float32")
        mono = signal if signal.ndim == 1 else signal.mean(axis=1)
        loud = np.flatnonzero(np.abs(mono) > 0.02 * np.abs(mono).max())
        mono = np.pad(mono[loud[0] : loud[-1]], sample_rate // 4)
        sides[turn % 2].append(mono)
        sides[1 - turn % 2].append(np.zeros_like(mono))
    soundfile.write(path, np.stack([np.concatenate(side) for side in sides], axis=1), sample_rate)


def find_clips(ravdess: Path) -> dict[str, list[Path]]:
    """Clips by emotion and side: actresses are agents (0), actors are customers (1)."""
    clips: dict[str, list[Path]] = {f"{emotion} {side}": [] for emotion in EMOTIONS for side in (0, 1)}
    for path in sorted(path for path in ravdess.rglob("03-01-*") if path.suffix in {".wav", ".flac"}):
        if found := parse_name(path.stem):
            clips[f"{found.emotion} {int(found.gender == 'male')}"].append(path)
    return clips


def shoot(page: Page, path: Path) -> None:
    """Takes a picture of the window.

    Raises:
        ValueError: If it is larger than `LARGEST`.
    """
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
    if path.stat().st_size > LARGEST:
        msg = f"{path} has {path.stat().st_size} bytes, more than {LARGEST}"
        raise ValueError(msg)


def shoot_report(report: Path) -> None:
    """Takes the pictures of a report and of one of its recordings."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False) as browser,
    ):
        page = browser.new_page(viewport={"width": 1200, "height": 1180})
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-ready]")
        shoot(page, FOLDER / "report.png")
        page.set_viewport_size({"width": 1200, "height": 660})
        page.locator("#rows tr[data-row] button").first.click()
        if sheet := page.locator("#sheet").bounding_box():
            page.mouse.move(sheet["x"] + 0.47 * sheet["width"], sheet["y"] + 0.7 * sheet["height"])
        shoot(page, FOLDER / "call.png")


def draw_confusions() -> None:
    """Draws the confusion matrix of the evaluation for the model card, and adds it there."""
    description = read_description(DEFAULT_MODEL)
    report = RESULTS / f"emobox-{description['recipe']['name']}" / "report.json"
    overall = json.loads(report.read_text(encoding="utf-8"))["overall"]
    title = f"Speakers unknown to the model (emobox): UAR {overall['uar']:.3f}"
    save_confusion(DEFAULT_MODEL / "confusion.png", overall["confusion"], EMOTIONS, title)
    description = {**description, "pictures": {"confusion.png": title}}
    write_json(DEFAULT_MODEL / JSON_FILE, description)
    with write_by_rename(DEFAULT_MODEL / CARD_FILE) as stream:
        stream.write(render_card(description))


def main() -> None:
    """Makes all pictures."""
    clips, rng = find_clips(Path(sys.argv[1]).absolute()), random.Random(0)
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        calls = Path("calls")
        calls.mkdir()
        for name, moods in CALLS.items():
            join_call(clips, moods, calls / name, rng)
        (calls / "empty.flac").touch()
        predict_folder(calls, "report.html")
        shoot_report(Path("report.html").absolute())
    write_explanation(FOLDER / "explanation.png", explain(FOLDER / "woman-even.ogg"))
    draw_confusions()


if __name__ == "__main__":
    main()
