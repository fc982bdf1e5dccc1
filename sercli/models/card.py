"""Model card: how to use a model, its training data, its accuracy, and its limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sercli.corpora.registry import CORPORA

TEMPLATE = "model_card.md.j2"
SAME_CORPORA, OTHER_CORPORA = "recordings of the same corpora", "recordings of other corpora"
"""What the confidence of a model can be calibrated for: ``calibrated_for`` in ``model.json``."""


def render_card(description: Mapping[str, Any]) -> str:
    """Renders the card as Markdown.

    Args:
        description: Content of ``model.json``.
    """
    from jinja2 import Environment, FileSystemLoader  # slow to import, and predicting needs no card

    # Markdown, in which labels are code: nothing else is the user's.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    corpora = description.get("training_data") or {}
    return environment.get_template(TEMPLATE).render(
        {"training_data": {}, "figures": {}, "pictures": {}, "versions": {}, "recipe": {}, **description},
        n_features=len(description["normalization"]["mean"]),
        non_commercial=any("NC" in facts.get("license", "") for facts in corpora.values()),
        use=USE,
        other_corpora=OTHER_CORPORA,
        limits=list_limits(description),
    )


USE = "Made for research, teaching, and for sorting many recordings so that people listen to the right ones first."


def is_published(training_data: Mapping[str, Any]) -> bool:
    """Whether all training data is of published corpora, which are acted speech; own recordings may not be.

    Args:
        training_data: Facts of each corpus by name, as in ``model.json``.
    """
    published = {name for name, corpus in CORPORA.items() if not corpus.takes_any}
    return bool(training_data) and published >= training_data.keys()


def list_limits(description: Mapping[str, Any]) -> tuple[str, ...]:
    """Lists what a model must not be used for; each text completes "Do not use it".

    Args:
        description: Content of ``model.json``.
    """
    training_data = description.get("training_data") or {}
    acted = is_published(training_data)
    corpora = [
        f"{name} ({facts['language']})" if facts.get("language") else name for name, facts in training_data.items()
    ]
    return (
        (
            "to make decisions about people, such as reviews of call-center agents, or in work, credit, schooling, "
            "health, law or safety. Several laws, the EU's AI Act among them, forbid or restrict emotion recognition "
            "at work and in education."
        ),
        (
            "to find out what somebody feels. "
            + (
                "Acted emotion is not felt emotion: the model knows how actors portray these labels."
                if acted
                else "The model knows how recordings with these labels sound, not what the speakers felt."
            )
        ),
        (
            f"on speech unlike its training data, such as {'spontaneous speech, ' if acted else ''}other languages, "
            "voices of other ages, real telephone calls or noise, unless you have tested it there: expect much lower "
            f"accuracy. Training data: {', '.join(corpora) or 'not recorded'}{', all acted' if acted else ''}."
        ),
        "as if its confidence held everywhere: "
        + (
            "it is calibrated for recordings of other corpora; for those it was trained on it is too low."
            if description.get("calibrated_for") == OTHER_CORPORA
            else "it is calibrated on the corpora it was trained on and on no others."
        ),
    )
