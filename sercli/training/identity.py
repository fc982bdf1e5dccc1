"""Identities of training runs: equal for the same data, fold, recipe, seed and file formats."""

import hashlib
import json

from sercli.models.folder import SCHEMA_VERSION
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures
from sercli.training.recipes import Recipe


def identify_training(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """Returns 16 hex digits, equal for the same recordings, labels, features, fold, recipe, seed and model schema.

    Augmented copies in the store count only if the recipe uses them.
    """
    copies = recipe.training.copies
    content = {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe.to_dict(),
        "seed": seed,
        "labels": list(corpus.labels),
        "audio": corpus.parameters.audio.to_dict(),
        "segmentation": corpus.parameters.segmentation.to_dict(),
        "features": corpus.parameters.features.select(recipe.features).to_dict(),
        "sides": [
            [corpus.describe(member, copies=copies) for member in side] for side in (fold.train, fold.dev, fold.test)
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def identify_checkpoint(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """Like `identify_training`, but equal for any number of epochs if the schedule does not depend on it.

    Such a training can be resumed for more epochs. A student cannot, because its teachers would train longer too.
    """
    extensible = recipe.training.schedule == "plateau" and not recipe.teachers
    return identify_training(corpus, fold, recipe.limit(1) if extensible else recipe, seed)
