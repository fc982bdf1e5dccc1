"""Computes the features of a recipe for every utterance of an index."""

from collections.abc import Sequence
from pathlib import Path

from sercli.config import AudioConfig, check_seed
from sercli.corpora.index import read_index
from sercli.features.extraction import ExtractionSummary, extract_store
from sercli.features.frontend import FEATURES, FeatureConfig, order_features
from sercli.features.parameters import StoreParameters
from sercli.labels import require_list
from sercli.progress import Progress, follow_progress
from sercli.training.recipe_files import get_recipe
from sercli.training.recipes import Recipe

ALL = "all"  # stands for all features


def featurize(
    index: Path | str = "data/index.csv",
    store: Path | str = "data/features.h5",
    recipe: Recipe | str | Path = "default",
    *,
    features: Sequence[str] = (),
    audio: AudioConfig | None = None,
    jobs: int = 1,
    seed: int = 0,
    restart: bool = False,
    cluster: str | None = None,
    progress: bool | Progress = False,
) -> ExtractionSummary:
    """Computes the features of a recipe for every indexed utterance, and adds them to a feature store.

    Computes only missing features; resumes an interrupted run.

    Args:
        index: Index of the utterances (CSV).
        store: Feature store (HDF5), created if missing.
        recipe: Recipe, its name, TOML file or model folder; determines features and augmented copies.
        features: Further features, or ``["all"]``.
        audio: Preprocessing parameters; None for the defaults.
        jobs: Number of worker processes.
        seed: Seed of the augmented copies, 0 to `MAX_SEED`.
        restart: Whether to recompute everything and replace a store with other parameters.
        cluster: Address of a Dask scheduler to use instead of local workers.
        progress: True for a progress bar, or a function called with the number of utterances done and their total.

    Raises:
        UsageError: If the recipe or a feature is unknown, the seed is outside its range, or `features` is text.
        CorpusError: If the index is missing or damaged.
        StoreError: If the store was made with other parameters, or is damaged.
        InputError: If the cluster cannot be used, or all utterances fail and a store would be replaced.
        OSError: If the store cannot be written.

    Example:
        ``featurize("data/index.csv", "data/features.h5", "paper", jobs=8, progress=True).failures``
    """
    check_seed(seed)
    require_list("features", features)
    recipe = get_recipe(recipe)
    names = tuple(FEATURES) if ALL in features else order_features((*recipe.features, *features))
    parameters = StoreParameters(audio=audio or AudioConfig(), features=FeatureConfig(names=names))
    utterances = read_index(Path(index))
    with follow_progress("featurize", progress) as update:
        return extract_store(
            utterances,
            Path(store),
            parameters,
            jobs=jobs,
            copies=recipe.training.copies,
            seed=seed,
            restart=restart,
            cluster=cluster,
            progress=update,
        )
