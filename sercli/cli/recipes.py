"""`sercli recipes`: lists the included recipes, or prints one as TOML."""

from typing import Annotated, Literal

import typer

from sercli.cli import console, options


def recipes(
    action: Annotated[
        Literal["list", "show"],
        typer.Argument(help="List the recipes, or show one with all its parameters."),
    ] = "list",
    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="For show: name, TOML file or model folder.")
    ] = "default",
    *,
    changes: options.Changes = None,
) -> None:
    """List the recipes, or print one as TOML to start your own from.

    Example: `sercli recipes show default > mine.toml`, then `sercli train --recipe mine.toml`
    """
    from sercli.training.recipe_files import describe_recipe, get_recipe, list_recipes, render_recipe

    if action == "show":
        console.stdout.print(render_recipe(get_recipe(recipe, changes or ())), markup=False, end="")
        return
    width = max(map(len, list_recipes()))
    for name in list_recipes():
        console.stdout.print(f"{name:{width}}  {describe_recipe(name)}", markup=False)
