"""`sercli recipes`: lists the included recipes, or prints one as TOML."""

from typing import Annotated, Literal

import typer

from sercli.cli import console, options
from sercli.errors import UsageError


def recipes(
    action: Annotated[
        Literal["list", "show"],
        typer.Argument(help="List the recipes, or show one with all its parameters."),
    ] = "list",
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="For show: name, TOML file or model folder.", show_default="default"),
    ] = None,
    *,
    changes: options.Changes = None,
) -> None:
    """List the recipes, or print one as TOML to start your own from.

    Example: `sercli recipes show default > mine.toml`

    Example: `sercli train --recipe mine.toml`
    """
    from sercli.training.recipe_files import describe_recipe, get_recipe, list_recipes, render_recipe

    if action == "show":
        console.stdout.print(render_recipe(get_recipe(recipe or "default", changes or ())), markup=False, end="")
        return
    if recipe or changes:
        msg = (
            f"'sercli recipes list' takes no recipe and no --set: expected 'sercli recipes show {recipe or 'default'}'"
        )
        raise UsageError(msg)
    width = max(map(len, list_recipes()))
    for name in list_recipes():
        console.stdout.print(f"{name:{width}}  {describe_recipe(name)}", markup=False)
