import json
import subprocess
import sys
from pathlib import Path

import pytest

from sercli import featurize
from sercli.errors import UsageError
from sercli.features.frontend import FEATURES
from sercli.features.store import FeatureStore
from sercli.training.recipe_files import RECIPES
from tests.toy_index import index_toy


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    index_toy(folder, speakers=1, takes=1)
    return folder


def test_a_recipe_decides_features_and_copies(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "features.h5"
    seen: list[int] = []

    def note(done: int, total: int) -> None:
        seen.append(done)

    for recipe, features, names, rows in (
        ("default", (), ("logmel",), 4),
        (RECIPES["paper"], ("zcr",), (*RECIPES["paper"].features, "zcr"), 12),
        ("default", ("all",), tuple(FEATURES), 12),
    ):
        seen.clear()
        summary = featurize(data / "index.csv", store, recipe, features=features, progress=note)
        assert (summary.utterances, summary.failures, summary.parameters.names) == (4, (), names)
        assert seen == [1, 2, 3, 4]
        with FeatureStore(store) as opened:
            assert len(opened) == rows
    assert capsys.readouterr() == ("", "")
    featurize(data / "index.csv", store, progress=True)
    assert "featurize" in capsys.readouterr().err


@pytest.mark.parametrize(("recipe", "features", "named"), [("best", (), "recipe"), ("default", ("pitch",), "feature")])
def test_an_unknown_recipe_or_feature_is_named(
    data: Path, tmp_path: Path, recipe: str, features: tuple[str, ...], named: str
) -> None:
    with pytest.raises(UsageError, match=f"unknown {named} '(best|pitch)': expected one of"):
        featurize(data / "index.csv", tmp_path / "f.h5", recipe, features=features)
    assert not (tmp_path / "f.h5").exists()


def test_featurize_imports_no_torch(data: Path, tmp_path: Path) -> None:
    """The command and its workers: torch alone takes longer to load than many a corpus to featurize."""
    code = (
        "import json, sys\n"
        "from sercli import featurize\n"
        "featurize(sys.argv[1], sys.argv[2])\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'librosa', 'sklearn'})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, data / "index.csv", tmp_path / "f.h5"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
