import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import image

from sercli import plots
from sercli.labels import EMOTIONS
from sercli.metrics import measure_reliability

History = list[dict[str, float]]


def read(path: Path) -> npt.NDArray[np.float32]:
    picture: npt.NDArray[np.float32] = image.imread(path)[:, :, :3]
    return picture


def make_history(epochs: int, best: float = 0.5) -> History:
    steps = np.arange(1, epochs + 1)
    return [
        {
            "epoch": float(step),
            "train_loss": 2 / step,
            "dev_loss": 2 / step + 0.2,
            "train_accuracy": 1 - 1 / (step + 1),
            "dev_accuracy": best,
        }
        for step in steps
    ]


def count_color(picture: npt.NDArray[np.float32], color: str) -> int:
    rgb = np.array([int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return int((np.abs(picture - rgb).max(axis=2) < 0.02).sum())


def draw(path: Path, matrix: npt.ArrayLike) -> npt.NDArray[np.float32]:
    plots.save_confusion(path, matrix, EMOTIONS, "title")
    return read(path)


def test_a_confusion_matrix_is_dark_where_a_row_has_its_share(tmp_path: Path) -> None:
    right = draw(tmp_path / "right.png", 40 * np.eye(8, dtype=np.int64))
    wrong = draw(tmp_path / "wrong.png", 40 * np.roll(np.eye(8, dtype=np.int64), 1, axis=1))
    height, width = right.shape[:2]
    assert height > 500
    assert width > 500
    # The cell of the truth and prediction "neutral" lies at the upper left of the axes.
    corner = slice(height // 20, height // 6), slice(width // 6, width // 4)
    assert right[corner].mean() < 0.5 < wrong[corner].mean()
    assert not np.array_equal(
        draw(tmp_path / "x.png", np.triu(np.ones((8, 8)))), draw(tmp_path / "y.png", np.tril(np.ones((8, 8))))
    )


def test_a_matrix_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    assert draw(tmp_path / "nothing.png", np.zeros((8, 8), dtype=np.int64)).size


@pytest.mark.parametrize("labels", [["ουδέτερο", "θυμός"], ["$\\frac", "a$b$"], ["怒り", "<b>x</b>"]])
def test_labels_of_any_script_are_drawn_as_they_are(tmp_path: Path, labels: list[str]) -> None:
    plots.save_confusion(tmp_path / "a.png", np.eye(2), labels)
    plots.save_confusion(tmp_path / "b.png", np.eye(2), labels[::-1])
    assert not np.array_equal(read(tmp_path / "a.png"), read(tmp_path / "b.png"))


def test_many_labels_make_no_larger_picture(tmp_path: Path) -> None:
    plots.save_confusion(tmp_path / "a.png", np.eye(300), [f"label {number}" for number in range(300)])
    height, width = read(tmp_path / "a.png").shape[:2]
    assert 2_000 < height < width < 3_000


@pytest.mark.parametrize("folds", [1, 2, plots.MAX_ROWS + 1])
def test_curves_of_training_and_development_are_drawn(tmp_path: Path, folds: int) -> None:
    histories = [make_history(5 + fold % 7, best=fold / 40) for fold in range(folds)]
    plots.save_curves(tmp_path / "curves.png", histories, [f"fold {fold}" for fold in range(folds)])
    picture = read(tmp_path / "curves.png")
    rows = folds if folds <= plots.MAX_ROWS else 1
    assert picture.shape[0] == pytest.approx((1.0 + 2.9 * rows) * plots.DPI, abs=2)
    for color in (plots.TRAIN_COLOR, plots.DEV_COLOR):
        assert count_color(picture, color) > 100 or folds > plots.MAX_ROWS  # there they are faint
    bluer, redder = picture[:, :, 2] - picture[:, :, 0], picture[:, :, 0] - picture[:, :, 2]
    assert min((bluer > 0.1).sum(), (redder > 0.1).sum()) > 300 * folds


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_history_of_hardly_anything_can_be_drawn(tmp_path: Path, epochs: int) -> None:
    plots.save_curves(tmp_path / "curves.png", [make_history(epochs)], [""])
    # A single epoch is a dot on both axes, beside the legend's line.
    assert (count_color(read(tmp_path / "curves.png"), plots.DEV_COLOR) > 300) == bool(epochs)


@pytest.mark.parametrize(
    "save",
    [
        lambda path: plots.save_confusion(path, np.ones((8, 8)), EMOTIONS),
        lambda path: plots.save_curves(path, [make_history(3)], ["a"]),
    ],
    ids=["confusion", "curves"],
)
def test_equal_data_give_equal_pictures_that_replace_the_old(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("old")
    save(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_no_state_of_pyplot_is_touched(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sercli.plots import save_confusion\n"
        f"save_confusion(Path({str(tmp_path / 'a.png')!r}), [[1]], ['x'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert read(tmp_path / "a.png").size


def test_reliability_shows_a_bar_for_each_confidence_that_there_is(tmp_path: Path) -> None:
    probabilities = np.full((40, len(EMOTIONS)), 0.3 / 7)
    probabilities[:, 2] = 0.7
    truth = np.array([2] * 20 + [3] * 20)
    bins = measure_reliability(truth, probabilities)
    plots.save_reliability(tmp_path / "half.png", bins, title="half of them right")
    plots.save_reliability(tmp_path / "all.png", measure_reliability(np.full(40, 2), probabilities))
    plots.save_reliability(tmp_path / "none.png", measure_reliability(truth[:0], probabilities[:0]))
    half, whole, none = (
        count_color(read(tmp_path / f"{name}.png"), plots.TRAIN_COLOR) for name in ("half", "all", "none")
    )
    assert none < half < whole
    assert whole == pytest.approx(2 * half, rel=0.1)
