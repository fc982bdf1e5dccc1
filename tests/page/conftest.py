"""Fixtures of the tests in a browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from sercli import predict_folder
from tests.sounds import make_tone, write_sound, write_tone
from tests.toy_model import make_model

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = (
    "calls/<script>window.hacked=1</script>.wav",  # a folder too: names hold no slash
    'calls/"><img src=x onerror=window.hacked=1>.wav',
    "calls/Καλημέρα 😀 it's.wav",
    "calls/100% #1?.wav",
    "calls/&lt;b&gt;.wav",
    f"calls/{'very-long-' * 20}.wav",
    "javascript:window.hacked=1/a.wav",
    os.fsdecode(b"calls/caf\xe9.wav"),
)


class OpenPage(Protocol):
    """Opens a page in the browser."""

    def __call__(self, path: Path, address: str = "", **options: Any) -> Any:
        """Opens a file, or its address, with options of a browser context; returns Playwright's page."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, shared by all tests of a process; tests that want it are skipped where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium: install it, as with apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with (
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, chromium_sandbox=False) as started,
    ):
        yield started


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens pages whose scripts must not complain and which must not load anything but recordings."""
    complaints: list[str] = []
    contexts = []

    def open_file(path: Path, address: str = "", **options: Any) -> Any:
        address = address or path.as_uri()
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(f"{message.text} {message.location['url']}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        requests: list[str] = []
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        assert requests == [address]
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert [text for text in complaints if not text.endswith(".wav")] == []  # made-up recordings do not exist


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of recordings with hostile names, a call, silence and files that fail, with known labels."""
    folder = tmp_path_factory.mktemp("report")
    recordings = folder / "in"
    for number, name in enumerate(HOSTILE):
        write_tone(recordings / name, seconds=0.5, frequency=200 + 40 * number, seed=number)
    call = np.concatenate([make_tone(seconds=8, frequency=200 + 100 * n, channels=2, seed=n) for n in range(3)])
    call[:, 0] *= np.sin(np.arange(len(call)) / 16_000) > 0
    call[:, 1] *= np.sin(np.arange(len(call)) / 16_000) <= 0
    write_sound(recordings / "calls/two sides.wav", call)
    write_sound(recordings / "calls/loud.wav", np.sign(np.sin(np.arange(32_000) / 20)))
    write_sound(recordings / "silence.wav", np.zeros(16_000))
    (recordings / "broken.mp3").write_text("no sound")
    (folder / "labels.csv").write_text("file,emotion\nin/calls/two sides.wav,sad\nin/calls/loud.wav,happy\n")
    where = Path.cwd()
    os.chdir(folder)
    try:
        predict_folder(
            "in", "out/report.html", model=make_model(folder / "model"), window=2.0, labels="labels.csv", jobs=1
        )
    finally:
        os.chdir(where)
    return folder / "out/report.html"
