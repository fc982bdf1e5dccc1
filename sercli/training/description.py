"""Identity (cache key) and description of a training run."""

import hashlib
import json
from typing import Any

from sercli.corpora.registry import CORPORA
from sercli.models.folder import SCHEMA_VERSION
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures
from sercli.training.recipes import Recipe
from sercli.version import collect_versions


def describe_training(corpus: CorpusFeatures, fold: Fold, recipe: Recipe) -> dict[str, Any]:
    """Describes recipe, training data and versions, JSON-ready.

    Args:
        corpus: Utterances that the fold divides.
        fold: Training and development utterances.
        recipe: Recipe of the model.
    """
    return {
        "recipe": recipe.to_dict(),
        "training_data": describe_data(corpus, fold),
        "versions": collect_versions(),
    }


def describe_data(corpus: CorpusFeatures, fold: Fold) -> dict[str, dict[str, Any]]:
    """Describes each corpus, JSON-ready: counts, development speakers, hash, language, license and citation."""
    utterances = corpus.index.utterances
    used = [utterances[position] for position in (*fold.train, *fold.dev)]
    dev, train = ({utterances[position].speaker for position in split} for split in (fold.dev, fold.train))
    described = {}
    for name in sorted({utterance.corpus for utterance in used}):
        of_corpus = [utterance for utterance in used if utterance.corpus == name]
        speakers = {utterance.speaker for utterance in of_corpus} - {""}
        published = CORPORA.get(name)
        described[name] = {
            "utterances": len(of_corpus),
            "speakers": len(speakers),
            "dev_speakers": sorted((dev - train) & speakers),
            "sha256": hashlib.sha256("".join(sorted(u.sha256 for u in of_corpus)).encode()).hexdigest(),
            "language": published.language if published else "",
            "license": published.license if published else "",
            "citation": published.citation if published else "",
        }
    return described


def identify_training(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """Returns the cache key of a training run and its test, 16 hex digits.

    It depends on recordings, labels, features, fold, recipe, seed and the schema version of models.
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
            [corpus.describe(position, copies=copies, masked=recipe.training.masked) for position in split]
            for split in (fold.train, fold.dev, fold.test)
        ],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def identify_checkpoint(corpus: CorpusFeatures, fold: Fold, recipe: Recipe, seed: int) -> str:
    """Returns the cache key of a checkpoint; it is the same for more epochs if the schedule does not depend on them.

    With teachers it is not, because they would train for more epochs too.
    """
    extensible = recipe.training.schedule == "plateau" and not recipe.teachers
    return identify_training(corpus, fold, recipe.with_max_epochs(1) if extensible else recipe, seed)
