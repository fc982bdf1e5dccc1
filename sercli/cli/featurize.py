"""`sercli featurize`: computes the features of all indexed utterances, in parallel."""

from typing import Annotated

import typer

from sercli.cli import console, options


def featurize(
    *,
    jobs: options.Jobs = options.default_jobs(),
    recipe: options.RecipeName = "default",
    changes: options.Changes = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="More features, separated by commas, or 'all'.",
            show_default="only those of the recipe",
            rich_help_panel=options.RECIPE,
        ),
    ] = None,
    denoise: Annotated[bool, typer.Option("--denoise", help="Reduce stationary noise first.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Recompute everything and replace the store.")] = False,
    dask: options.Dask = None,
    seed: options.Seed = 0,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
) -> None:
    """Compute the features a recipe needs for every indexed utterance, and store them (HDF5).

    Computes only what is missing: you can add features and corpora later, and resume an interrupted run.

    Example: `sercli featurize --jobs 8`
    """
    from sercli.config import AudioConfig
    from sercli.training.featurize import featurize as run
    from sercli.training.recipe_files import get_recipe

    store_path = options.store_file(data_dir, store)
    with console.keeping_work(), console.show_progress("featurize", None) as bar:
        summary = run(
            options.index_file(data_dir, index),
            store_path,
            get_recipe(recipe, changes or ()),
            features=options.parse_names(features) or [],
            audio=AudioConfig(denoise=denoise),
            jobs=jobs,
            seed=seed,
            restart=restart,
            cluster=dask,
            progress=bar.update,
        )
    console.say(
        f"{store_path}: {summary.extracted} extracted, {summary.reused} reused, {len(summary.failures)} of "
        f"{summary.utterances} utterances failed, {summary.seconds:.1f} s"
    )
    if console.is_verbose():
        console.say(f"parameters {summary.parameters.fingerprint}: {summary.parameters.to_dict()}")
    console.show_failures([(failure.file, failure.reason) for failure in summary.failures])
    if summary.failures:
        raise typer.Exit(1)
