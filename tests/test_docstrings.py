"""Docstrings describe every parameter and attribute once, and no other; their examples run, also with paths as text."""

import ast
import doctest
import importlib
import inspect
import itertools
import re
import typing
from functools import cache
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


def list_documented_options(name: str) -> list[str]:
    """Options documented by a typed dict and those that it extends."""
    definition = find_classes()[name]
    bases = [ast.unparse(base) for base in definition.bases if ast.unparse(base) != "TypedDict"]
    return [*itertools.chain(*map(list_documented_options, bases)), *list_documented(definition, "Attributes")]


def list_options(definition: ast.FunctionDef) -> list[str]:
    """Names of the typed dicts that a function takes its keyword arguments from."""
    annotation = definition.args.kwarg and definition.args.kwarg.annotation
    return re.findall(r"^Unpack\[(\w+)\]$", ast.unparse(annotation)) if annotation else []


@cache
def find_classes() -> dict[str, ast.ClassDef]:
    """Typed dicts and dataclasses of the package, by name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    return {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def is_typed_dict(definition: ast.ClassDef) -> bool:
    bases = [ast.unparse(base) for base in definition.bases]
    return "TypedDict" in bases or any(is_typed_dict(find_classes()[base]) for base in bases if base in find_classes())


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
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            (options,) = kinds
            for option, kind in typing.get_type_hints(options).items():
                assert Path not in typing.get_args(kind) or str in typing.get_args(kind), option


@pytest.mark.parametrize(("name", "count"), [("Predictor", 7), ("predict_folder", 15)])
def test_each_option_is_documented_once_and_an_unknown_one_is_a_type_error(name: str, count: int) -> None:
    function = getattr(sercli, name)
    (options,) = typing.get_args(inspect.signature(function).parameters["options"].annotation)
    documented = list_documented_options(options.__name__)
    assert sorted(documented) == sorted(options.__annotations__)
    assert len(documented) == count
    with pytest.raises(
        TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'windows'; did you mean window?"
    ):
        function("calls", windows=6.0)
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'overlap'$"):
        function("calls", overlap=True)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_parameters_and_attributes_are_those_of_the_code(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (documented := list_documented(node, "Args")):
            assert documented == [name for name in list_parameters(node) if name in documented], node.name
            assert set(documented) == set(list_parameters(node)), node.name
        if isinstance(node, ast.FunctionDef):
            assert all(is_typed_dict(find_classes()[options]) for options in list_options(node)), node.name
        if isinstance(node, ast.ClassDef) and (documented := list_documented(node, "Attributes")):
            assert len(documented) == len(set(documented)), node.name
            if is_typed_dict(node):
                assert documented == list_fields(node), node.name
            if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
                cited = re.findall(r"without a description are those of `(\w+)`", ast.get_docstring(node) or "")
                elsewhere = itertools.chain(*map(list_documented_options, cited))
                assert set(list_fields(node)) <= {*documented, *elsewhere}, node.name
