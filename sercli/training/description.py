"""Describes a model's training data, for its folder and card."""

import hashlib
from typing import Any

from sercli.corpora.registry import CORPORA
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
    """Describes each corpus: counts, development speakers, hash, license and citation; JSON-ready."""
    used = [corpus.index.utterances[number] for number in (*fold.train, *fold.dev)]
    dev, train = ({corpus.index.utterances[number].speaker for number in side} for side in (fold.dev, fold.train))
    described = {}
    for name in sorted({utterance.corpus for utterance in used}):
        members = [utterance for utterance in used if utterance.corpus == name]
        speakers = {utterance.speaker for utterance in members}
        known = CORPORA.get(name)
        described[name] = {
            "utterances": len(members),
            "speakers": len(speakers),
            "dev_speakers": sorted((dev - train) & speakers),
            "sha256": hashlib.sha256("".join(sorted(u.sha256 for u in members)).encode()).hexdigest(),
            "license": known.license if known else "",
            "citation": known.citation if known else "",
        }
    return described
