"""Reads and writes recipes: included ones (``sercli/recipes``), TOML files, and those of trained models.

A file has the parameters of `sercli.training.recipes.Recipe`, with its parts as tables. ``base`` names a recipe to
inherit from, and ``version`` is the format version. A recipe without ``name``, or named like an included recipe, takes
the name of its file; if that is also an included recipe, a digest is appended. The table ``tune`` is the search space
of `sercli.training.tune`.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sercli.config import ParameterError, describe_unknown
from sercli.errors import InputError, UsageError
from sercli.files import one_line, read_json_object
from sercli.labels import require_list
from sercli.models.folder import JSON_FILE
from sercli.training.recipes import PARTS, Recipe

VERSION = 1  # format version
FOLDER = Path(__file__).parents[1] / "recipes"
FIRST = ("default", "paper")  # in lists and suggestions; the others are based on them
SUFFIX = ".toml"
MAX_SIZE = 1 << 20  # bytes per file

_TABLE = re.compile(r"\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?")
_KEY = re.compile(r"([\w.\"'\s-]+)=")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """Recipe before validation.

    Attributes:
        where: Name of the recipe, file or folder, for messages.
        text: Content of the file; empty for a model folder.
        values: Parameters by name, including those of the base.
        tune: Content of the table ``tune``.
    """

    where: str
    text: str
    values: dict[str, Any]
    tune: Mapping[str, Any]

    def find_line(self, name: str) -> str:
        """Returns ``, line 7`` for messages: the line of a parameter such as ``training.muon``, else of its table.

        Empty if the file has neither.
        """
        table: list[str] = []
        lines: dict[tuple[str, ...], int] = {}
        for number, line in enumerate(self.text.splitlines(), start=1):
            if match := _TABLE.fullmatch(line):
                table = _split(match[1])
                lines.setdefault(tuple(table), number)
            elif match := _KEY.match(line.strip()):
                lines.setdefault((*table, *_split(match[1])), number)
        path = tuple(name.split("."))
        numbers = (lines[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in lines)
        return next((f", line {number}" for number in numbers), "")


def _is_within(name: str, other: str) -> bool:
    return name == other or name.startswith(f"{other}.")


def _split(key: str) -> list[str]:
    return [part.strip().strip("\"'") for part in key.split(".")]


def get_recipe(source: Recipe | str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Returns an included recipe, one from a TOML file, or that of a trained model.

    Args:
        source: Recipe, its name, a TOML file, or a model folder.
        changes: Parameters to change, such as ``training.learning_rate=0.001``, with TOML values. The recipe then gets
            another name, so that its results do not replace those of the original.

    Raises:
        UsageError: If the recipe or a parameter is unknown, or a value is invalid; the message names file and line.
    """
    require_list("changes", changes)
    if isinstance(source, Recipe):
        file = RecipeFile(where=f"recipe {source.name}", text="", values=source.to_dict(), tune={})
    else:
        file = read_recipe_file(source)
    changed = dict(map(_parse_change, changes))
    values = file.values
    for name, value in changed.items():
        values = set_parameter(values, name, value)
    try:
        recipe = Recipe.from_dict(values)
    except ParameterError as reason:
        affected = (key for key in changed if _is_within(key, reason.name) or _is_within(reason.name, key))
        change = next(affected, None)
        where = f"{file.where}{file.find_line(reason.name)}" if change is None else f"--set {change}"
        msg = f"{where}: {reason.name} {reason.problem}"
        raise UsageError(msg) from None
    if not changed or "name" in changed:
        return recipe
    return replace(recipe, name=_name_version(recipe.name, recipe.to_dict()))


def _name_version(name: str, values: Mapping[str, Any]) -> str:
    content = json.dumps(values, sort_keys=True, default=str)  # TOML has dates, which are refused later
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def read_recipe_file(source: str | Path) -> RecipeFile:
    """Reads a recipe by name, from a TOML file or a model folder; checks only the format.

    Raises:
        UsageError: If there is no such recipe, or the file cannot be read.
    """
    path = Path(source)
    if str(source) in list_recipes():
        return _parse(FOLDER / f"{source}{SUFFIX}", str(source))
    if path.is_dir():
        return _read_model(path)
    if path.is_file() or path.suffix == SUFFIX:
        return _rename_version(_parse(path, str(path)), path.stem)
    known = ", ".join(list_recipes())
    msg = f"unknown recipe {str(source)!r}: expected one of {known}, a file ending in {SUFFIX}, or a model folder"
    raise UsageError(msg)


def list_recipes() -> tuple[str, ...]:
    """Lists the included recipes, those of `FIRST` before the others."""
    return (*FIRST, *sorted({path.stem for path in FOLDER.glob(f"*{SUFFIX}")}.difference(FIRST)))


def describe_recipe(name: str) -> str:
    """Returns the first comment of an included recipe, in one line."""
    lines = (FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def _read_model(folder: Path) -> RecipeFile:
    try:
        recipe = read_json_object(folder / JSON_FILE)["recipe"]
    except (InputError, KeyError) as reason:
        msg = f"{folder} has no recipe: expected a model folder with {JSON_FILE} ({one_line(reason)})"
        raise UsageError(msg) from None
    if not isinstance(recipe, dict):
        msg = f"{folder / JSON_FILE}: recipe should be a table, found {type(recipe).__name__}"
        raise UsageError(msg)
    return RecipeFile(where=f"{folder / JSON_FILE}, recipe", text="", values=recipe, tune={})


def _parse(path: Path, where: str) -> RecipeFile:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_SIZE + 1)
    except OSError as reason:
        msg = f"cannot read the recipe {path}: {reason.strerror}"
        raise UsageError(msg) from None
    try:
        if len(content) > MAX_SIZE:
            raise ValueError("it is larger than 1 MB")  # noqa: EM101 - caught below
        text = content.decode("utf-8-sig")
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as reason:
        msg = f"{where} is not TOML: {one_line(reason)}"
        raise UsageError(msg) from None
    version, base, tune = values.pop("version", VERSION), values.pop("base", None), values.pop("tune", {})
    file = RecipeFile(where=where, text=text, values=values, tune=tune)
    names = {field.name for field in fields(Recipe)}
    for unknown in sorted(set(values) - names):
        problem = describe_unknown(unknown, names | {"version", "base", "tune"})
        msg = f"{where}{file.find_line(unknown)}: {unknown} {problem}"
        raise UsageError(msg)
    if version != VERSION:
        msg = (
            f"{where}{file.find_line('version')}: version {version!r} is not supported, expected {VERSION}: update "
            "sercli, or start from 'sercli recipes show default'"
        )
        raise UsageError(msg)
    if not isinstance(tune, dict):
        msg = f"{where}{file.find_line('tune')}: tune should be a table of parameters, found {type(tune).__name__}"
        raise UsageError(msg)
    file = replace(file, tune=_flatten(tune))
    if base is not None:
        if base not in list_recipes():
            known = ", ".join(list_recipes())
            msg = f"{where}{file.find_line('base')}: base should be one of {known}, found {base!r}"
            raise UsageError(msg)
        values = _merge(read_recipe_file(base).values, values)
    return replace(file, values={**values, "name": file.values.get("name", path.stem)})


def _rename_version(file: RecipeFile, stem: str) -> RecipeFile:
    """Renames an edited copy of an included recipe, so that it does not replace that recipe's models and results."""
    included = list_recipes()
    if file.values["name"] not in included:
        return file
    name = _name_version(stem, file.values) if stem in included else stem
    return replace(file, values={**file.values, "name": name})


def _flatten(tune: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the table ``tune`` with names such as ``training.muon``, in quotes or not."""
    flat: dict[str, Any] = {}
    for name, choices in tune.items():
        nested = name in PARTS and isinstance(choices, dict)
        flat |= {f"{name}.{key}": value for key, value in choices.items()} if nested else {name: choices}
    return flat


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def set_parameter(values: Mapping[str, Any], name: str, value: object) -> dict[str, Any]:
    """Returns the values with one parameter changed, such as ``training.muon``; creates missing tables."""
    table, dot, rest = name.partition(".")
    inner = values.get(table, {})
    changed = set_parameter(inner if isinstance(inner, dict) else {}, rest, value) if dot else value
    return {**values, table: changed}


def _parse_change(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        msg = f"cannot read --set {text!r}: expected KEY=VALUE, as in training.learning_rate=0.001"
        raise UsageError(msg)
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return name, value  # text without quotes
    return name, parsed["value"] if len(parsed) == 1 else value


def render_recipe(recipe: Recipe, tune: Mapping[str, Any] | None = None) -> str:
    """Renders a recipe as TOML, with all parameters.

    Args:
        recipe: Recipe to render.
        tune: Content of the table ``tune``.
    """
    values = recipe.to_dict()
    tables = {name: table for name, table in values.items() if isinstance(table, dict)}
    top = {"version": VERSION, **{name: value for name, value in values.items() if name not in tables}}
    parts = ["\n".join(_render_lines(top))]
    for name, table in {**tables, **({"tune": tune} if tune else {})}.items():
        parts.append("\n".join([f"[{name}]", *_render_lines(table)]))
    return "\n\n".join(parts) + "\n"


def _render_lines(table: Mapping[str, Any]) -> Iterable[str]:
    return (f"{name if name.isidentifier() else json.dumps(name)} = {_render(value)}" for name, value in table.items())


def _render(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(_render_lines(value)) + " }"
    return json.dumps(value, ensure_ascii=False)  # JSON and TOML write strings, numbers, booleans and lists alike


RECIPES: Mapping[str, Recipe] = {name: get_recipe(name) for name in list_recipes()}
"""Included recipes by name."""
