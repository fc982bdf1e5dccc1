"""Docstrings describe every parameter and attribute once, and no other; their examples run, also with paths as text."""

import ast
import doctest
import importlib
import inspect
import re
import typing
from pathlib import Path

import pytest

import sercli

PACKAGE = Path(__file__).parents[1] / "sercli"
Definition = ast.ClassDef | ast.FunctionDef


def list_documented(definition: Definition, section: str) -> list[str]:
    docstring = ast.get_docstring(definition) or ""
    match = re.search(rf"^{section}:\n((?:    .*\n|\n)*)", docstring + "\n", re.MULTILINE)
    return re.findall(r"^    \*{0,2}(\w+):", match[1], re.MULTILINE) if match else []


def list_fields(definition: ast.ClassDef) -> list[str]:
    targets = [node.target for node in definition.body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")]


def list_parameters(definition: ast.FunctionDef) -> list[str]:
    given = definition.args
    own = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [parameter.arg for parameter in own if parameter.arg not in {"self", "cls"}]


def list_modules_with_examples() -> list[str]:
    paths = sorted(path for path in PACKAGE.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]


@pytest.mark.parametrize("module", list_modules_with_examples())
def test_examples_run(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted
    assert not outcome.failed


@pytest.mark.parametrize("name", sorted({*sercli.__all__} - {"__version__"}))
def test_a_public_function_that_takes_a_path_takes_its_name(name: str) -> None:
    for parameter in inspect.signature(getattr(sercli, name)).parameters.values():
        kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
        assert Path not in kinds or str in kinds, parameter.name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_parameters_and_attributes_are_those_of_the_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (documented := list_documented(node, "Args")):
            assert documented == [name for name in list_parameters(node) if name in documented], node.name
            assert set(documented) == set(list_parameters(node)), node.name
        if isinstance(node, ast.ClassDef) and (documented := list_documented(node, "Attributes")):
            assert len(documented) == len(set(documented)), node.name
            if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
                assert set(list_fields(node)) <= set(documented), node.name
