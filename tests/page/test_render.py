"""The page kit: what it escapes, and whether its colors can be told apart."""

import itertools
import json
import re

import numpy as np
import numpy.typing as npt
import pytest

from sercli.labels import EMOTIONS
from sercli.page.render import FOLDER, choose_inks, render_page

Vector = npt.NDArray[np.float64]

# Machado et al. (2009), severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
TO_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])
WHITE = np.array([0.9505, 1.0, 1.0888])


def to_linear(color: str) -> Vector:
    values = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_lab(linear: Vector) -> Vector:
    """CIELAB of linear RGB."""
    ratio = TO_XYZ @ np.clip(linear, 0, 1) / WHITE
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["color", "on_dark"])
def test_the_colors_of_the_emotions_differ_for_everybody(vision: str, scheme: str) -> None:
    seen = [to_lab(VISION[vision] @ to_linear(getattr(ink, scheme))) for ink in choose_inks(EMOTIONS)]
    assert min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2)) > 15


def test_the_emotions_differ_in_gray_print() -> None:
    inks = choose_inks(EMOTIONS)
    gray = {ink.label: float(to_lab(to_linear(ink.color))[0]) for ink in inks}
    assert min(abs(gray[one] - gray[other]) for one, other in itertools.combinations(gray, 2)) > 5
    textures = [ink.texture for ink in sorted(inks, key=lambda ink: gray[ink.label])]
    assert all(one != other for one, other in itertools.pairwise(textures))  # neighbors in lightness


@pytest.mark.parametrize(("scheme", "background", "least"), [("color", "#f1f3f6", 1.5), ("on_dark", "#2a313a", 3)])
def test_the_emotions_stand_out_from_the_page(scheme: str, background: str, least: float) -> None:
    assert background in (FOLDER / "page.css").read_text()
    luminances = [(TO_XYZ @ to_linear(getattr(ink, scheme)))[1] for ink in choose_inks(EMOTIONS)]
    behind = (TO_XYZ @ to_linear(background))[1]
    ratios = [(max(each, behind) + 0.05) / (min(each, behind) + 0.05) for each in luminances]  # WCAG 2
    assert min(ratios) > least


def test_an_emotion_keeps_its_color_and_other_labels_get_one() -> None:
    by_label = {ink.label: ink for ink in choose_inks(("bored", "angry", "joy", "tired", "shy", "proud", "smug"))}
    assert by_label["angry"] == choose_inks(EMOTIONS)[EMOTIONS.index("angry")]
    assert len({(ink.color, ink.texture) for ink in by_label.values()}) == 7


def test_data_cannot_break_out_of_the_page() -> None:
    hostile = "</script><script>alert(1)</script><!-- ' \" & \u2028 Ω 😀"
    page = render_page("base.html", scripts=("table.js",), data={"name": hostile}, labels=EMOTIONS)
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    assert json.loads(found[1]) == {"name": hostile}
    assert page.count("<script") == page.count("</script>") == 2
    assert "Ω 😀" in page


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_page("base.html", scripts=(), data={"share": float("nan")}, labels=EMOTIONS)
