"""Files and description of a model folder; quick to import."""

import hashlib
from pathlib import Path
from typing import Any

from sercli.errors import ModelError, UsageError
from sercli.files import one_line, read_json_object
from sercli.labels import check_labels, choose_negative, require_list

SCHEMA_VERSION = 2
ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
JSON_FILE = "model.json"
CARD_FILE = "MODEL_CARD.md"
HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"
DEFAULT_MODEL = Path(__file__).parents[1] / "default_model"
"""Folder of the model included in the package."""
_SHOWN: dict[str, dict[str, Any]] = {
    "training_data": {"utterances": int, "speakers": int, "language": str | None, "license": str | None},
    "figures": {
        "speaker_independent": bool | None,
        "uar": float | int | None,
        "uar_interval": list,
        "accuracy": float | int | None,
    },
}
"""Types of what pages and cards show of each corpus and of each test."""


def list_files(folder: Path) -> list[Path]:
    """Lists the files of a model folder."""
    return [folder / name for name in (ONNX_FILE, WEIGHTS_FILE, JSON_FILE, CARD_FILE)]


def read_description(folder: Path) -> dict[str, Any]:
    """Reads ``model.json``.

    Raises:
        ModelError: If it is missing or damaged, or has another schema version or invalid labels.
    """
    if not folder.is_dir():
        msg = f"no model at {folder}: expected a folder with {ONNX_FILE} and {JSON_FILE}, as written by 'sercli train'"
        raise ModelError(msg)
    path = folder / JSON_FILE
    description = read_json_object(path, ModelError, expected="a model folder, as written by 'sercli train'")
    version = description.get("schema_version")
    if version != SCHEMA_VERSION:
        command = str(description.get("command") or "sercli train")
        found = "no schema version" if version is None else f"schema version {version!r}"
        msg = f"{path} has {found}, expected {SCHEMA_VERSION}: make it again with '{command}'"
        raise ModelError(msg)
    try:
        if not all(isinstance(label, str) for label in description["labels"]):
            raise TypeError(description["labels"])
        require_list("labels", description["labels"])
        check_labels(description["labels"])
        description["negative"] = choose_negative(description["labels"], description["negative"])
    except (KeyError, TypeError, AttributeError, UsageError) as reason:
        msg = (
            f"{path} should have the lists labels and negative ({one_line(reason)}): restore the folder, or train again"
        )
        raise ModelError(msg) from None
    _check_shown(path, description)
    if not (folder / ONNX_FILE).is_file():
        msg = f"{folder / ONNX_FILE} is missing: the model folder is incomplete"
        raise ModelError(msg)
    return description


def _check_shown(path: Path, description: dict[str, Any]) -> None:
    """Checks the types of what pages and cards show, so that no page fails after hours of scoring."""
    for name in ("recipe", "typicality", *_SHOWN):
        table = description.get(name) or {}
        if not isinstance(table, dict):
            msg = f"{path}: {name} should be an object, found {type(table).__name__}"
            raise ModelError(msg)
        for key, entry in table.items() if name in _SHOWN else ():
            if not _fits(entry, _SHOWN[name]):
                expected = ", ".join(_SHOWN[name]) + ("; scores are 0 to 1" if name == "figures" else "")
                msg = f"{path}: {name}, {one_line(key)} lacks a value or has an invalid one: expected {expected}"
                raise ModelError(msg)


def _fits(entry: Any, kinds: dict[str, Any]) -> bool:
    if not (isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in kinds.items())):
        return False
    interval = entry.get("uar_interval", [None, None])
    shares = [entry.get("uar"), entry.get("accuracy"), *interval]
    return len(interval) == 2 and all(isinstance(x, float | int | None) and 0 <= (x or 0) <= 1 for x in shares)


def model_digest(folder: Path) -> str:
    """Returns 12 hex digits that identify the content of a model folder.

    Raises:
        ModelError: If ``model.json`` is missing.
    """
    path = folder / JSON_FILE
    if not path.is_file():
        msg = f"{path} is missing"
        raise ModelError(msg)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
