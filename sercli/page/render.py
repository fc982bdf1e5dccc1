"""Renders self-contained HTML pages, with style, script and data in the file."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from sercli.labels import EMOTIONS

FOLDER = Path(__file__).parent

# Distinguishable under every kind of color blindness (Machado et al. 2009), and on white also by lightness alone, as in
# gray print: tests/page/test_render.py measures both.
_COLORS = ("#abb2b8", "#3599ac", "#dfc024", "#2444e2", "#c42e48", "#551e84", "#6e7d18", "#e97f60")
_ON_DARK = ("#cdd2d9", "#3aa6bb", "#dfc024", "#5872f5", "#d8455e", "#a66ad8", "#84952a", "#f09a7e")
_TEXTURES = ("plain", "down", "dots", "level", "plain", "up", "cross", "upright")
_MORE_COLORS = ("#8c5a2b", "#00694f", "#b79be0", "#7fae8f")  # of labels beyond the eight, with each texture in turn
_MORE_ON_DARK = ("#b98450", "#2f9c7e", "#b79be0", "#7fae8f")
_MORE_TEXTURES = ("dots", "level", "up", "cross", "upright", "down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ink:
    """How a label is drawn.

    Attributes:
        label: Name of the class.
        color: Fill on white, as ``#rrggbb``.
        on_dark: Fill on a dark page.
        texture: Pattern over the fill: ``plain``, ``dots``, ``level``, ``upright``, ``up``, ``down`` or ``cross``.
    """

    label: str
    color: str
    on_dark: str
    texture: str


def choose_inks(labels: Sequence[str]) -> tuple[Ink, ...]:
    """Chooses color and texture of each label; the eight emotions always have the same."""
    inks = []
    others = 0
    for label in labels:
        if label in EMOTIONS:
            number = EMOTIONS.index(label)
            colors, texture = (_COLORS[number], _ON_DARK[number]), _TEXTURES[number]
        else:
            number = others % len(_MORE_COLORS)
            colors, texture = (
                (_MORE_COLORS[number], _MORE_ON_DARK[number]),
                _MORE_TEXTURES[others % len(_MORE_TEXTURES)],
            )
            others += 1
        inks.append(Ink(label=label, color=colors[0], on_dark=colors[1], texture=texture))
    return tuple(inks)


def render_page(
    template: str, *, scripts: Sequence[str], data: Mapping[str, Any], labels: Sequence[str], **context: object
) -> str:
    """Renders a page.

    A content security policy keeps it from running any script but its own and from loading anything but recordings
    beside it.

    Args:
        template: Name of a template of this package, which extends ``base.html``.
        scripts: Names of the scripts of this package to include, in order.
        data: What the scripts read, JSON-ready; ends up in a script element with the id ``data``.
        labels: Classes that are drawn, in the order of their colors.
        context: Further variables of the template.

    Raises:
        ValueError: If the data hold NaN or infinity, which JSON does not have.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in scripts)
    dumps = partial(json.dumps, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return environment.get_template(template).render(
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - likewise
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=htmlsafe_json_dumps(data, dumps=dumps),
        inks=choose_inks(labels),
        **context,
    )
