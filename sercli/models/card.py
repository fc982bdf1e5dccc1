"""Model card: how to use a model, its training data, its accuracy, and its limits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = "model_card.md.j2"


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
    corpora = description.get("training_data", {})
    return environment.get_template(TEMPLATE).render(
        {"training_data": {}, "figures": {}, "pictures": {}, "versions": {}, "recipe": {}, **description},
        n_features=len(description["normalization"]["mean"]),
        non_commercial=any("NC" in facts.get("license", "") for facts in corpora.values()),
        use=USE,
        limits=LIMITS,
    )


USE = "Made for research, teaching, and for sorting many recordings so that people listen to the right ones first."
LIMITS = (  # each completes "Do not use it"
    (
        "to make decisions about people, including reviews of agents: not about work, credit, schooling, health, law "
        "or safety. Several laws, the EU's AI Act among them, forbid or restrict emotion recognition at work and in "
        "education."
    ),
    (
        "to find out what somebody feels. Acted emotion is not felt emotion: the model knows how actors portray these "
        "labels in a few sentences."
    ),
    (
        "on other languages, spontaneous speech, children's and old people's voices, telephone lines or noise unlike "
        "its training data, unless you have tested it there: expect much lower accuracy. It was trained on young "
        "adult actors in a studio."
    ),
    "as if its confidence held everywhere: it is calibrated on the corpora it was trained on and on no others.",
)
