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
    )


USE = """\
Made for research, teaching, and for sorting many recordings so that people listen to the right ones first.

- Acted emotion is not felt emotion. The model knows how actors portray these labels in a few sentences; it does not
  know what anybody feels.
- Do not decide about people with it: not about work, credit, schooling, health, law or safety, and not about any
  single person at all. Several laws, the EU's AI Act among them, forbid or restrict emotion recognition at work
  and in education.
- Expect much lower accuracy on other languages, on spontaneous speech, on children's and old people's voices, and on
  telephone lines and noise unlike its training data. It was trained on young adult actors in a studio.
- Confidence is calibrated on the corpora above and on no others."""
