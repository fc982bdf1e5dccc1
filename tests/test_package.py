"""What ``pip install .`` installs."""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

PROJECT = Path(__file__).resolve().parents[1]


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(PROJECT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("sercli/")}
    package = (path for path in (PROJECT / "sercli").rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    assert names == {path.relative_to(PROJECT).as_posix() for path in package}
    assert {"sercli/default_model/model.onnx", "sercli/recipes/default.toml", "sercli/page/report.html"} <= names
