"""The inspection of an index as a page, in a real Chromium."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sercli.evaluation.index_statistics import inspect_index
from sercli.evaluation.inspect import write_inspection_page
from sercli.evaluation.label_errors import LabelError
from tests.evaluation.test_inspect import make_index

ERROR = LabelError(
    file="<img src=x onerror=window.hacked=1>.wav",
    speaker="",
    label="sad",
    suggested="happy",
    p_label=0.1,
    p_suggested=0.9,
)


def test_page_of_an_inspection(browser: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    inspection = inspect_index(make_index(tmp_path))
    write_inspection_page(tmp_path / "page.html", replace(inspection, label_errors=(ERROR,), tested=6))
    with browser.new_context(color_scheme="light") as context:
        page = context.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        assert requests == [(tmp_path / "page.html").as_uri()]
        assert page.locator("td", has_text="<img src=x").count() == 1
        assert page.evaluate("window.hacked") is None
        page.locator("summary", has_text="Clipped").click()
        assert page.locator("li", has_text="loud.wav").first.is_visible()
        assert [fault["id"] for fault in axe.run(page).response["violations"]] == []
        page.emulate_media(color_scheme="dark")
        contrast = axe.run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
        assert [fault["id"] for fault in contrast] == []
        page.set_viewport_size({"width": 360, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
