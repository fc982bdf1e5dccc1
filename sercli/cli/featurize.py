"""`sercli featurize`: features of every indexed utterance, in parallel."""

from typing import Annotated

import typer

from sercli.cli import console, options


def featurize(
    *,
    jobs: options.Jobs = options.default_jobs(),
    augment: Annotated[
        int,
        typer.Option(
            "--augment",
            min=0,
            max=100,
            help="Altered copies of each utterance for training: pitch within ±2 semitones and tempo "
            "0.85 to 1.15, in turns.",
        ),
    ] = 2,
    denoise: Annotated[bool, typer.Option("--denoise", help="Reduce stationary noise first.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Compute everything anew and replace the store.")] = False,
    dask: options.Dask = None,
    seed: options.Seed = 0,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    index: options.IndexFile = None,
    store: options.StoreFile = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,  # noqa: ARG001 - its callback has done the work
) -> None:
    """Extract the features of every indexed utterance into one HDF5 store.

    40 MFCC with delta and delta-delta, 12 chroma, 128 log-mel bands, spectral contrast, tonnetz, RMS and
    zero-crossing rate. An interrupted run goes on where it was.

    Example: `sercli featurize --jobs 8`
    """
    index_path = options.index_file(data_dir, index)
    store_path = options.store_file(data_dir, store)

    from sercli.config import AudioConfig
    from sercli.corpora.index import read_index
    from sercli.features.extraction import extract_store
    from sercli.features.parameters import StoreParameters

    utterances = read_index(index_path)
    parameters = StoreParameters(audio=AudioConfig(denoise=denoise))
    with console.show_progress("featurize", len(utterances)) as bar:
        summary = extract_store(
            utterances,
            store_path,
            parameters,
            jobs=jobs,
            copies=augment,
            seed=seed,
            restart=restart,
            cluster=dask,
            progress=bar.update,
        )
    console.say(
        f"{store_path}: {summary.extracted} matrices extracted, {summary.reused} reused, "
        f"{len(summary.failures)} of {len(utterances)} utterances failed, {summary.seconds:.1f} s"
    )
    if verbose:
        console.say(f"parameters {parameters.fingerprint}: {parameters.to_dict()}")
    console.show_failures([(failure.file, failure.reason) for failure in summary.failures])
    if summary.failures:
        raise typer.Exit(1)
