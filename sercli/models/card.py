"""The model card: what a model was made from, how good it is, and what it must not be used for."""

from collections.abc import Mapping
from typing import Any


def render_card(description: Mapping[str, Any]) -> str:
    """Markdown of the card.

    Args:
        description: content of ``model.json``.
    """
    recipe = description.get("recipe", {}).get("name", "unknown")
    sections = [
        f"# Speech emotion model, recipe {recipe}",
        "Tells which of eight acted emotions is in recorded speech: " + ", ".join(description["labels"]) + ".",
        "## Training data",
        _data(description.get("training_data", {})),
        "## Licence",
        _licences(description.get("training_data", {})),
        "## Training",
        _training(description),
        "## Figures",
        _figures(description.get("figures", {})),
        "## Use",
        _USE,
    ]
    return "\n\n".join(sections) + "\n"


def _data(corpora: Mapping[str, Any]) -> str:
    if not corpora:
        return "Not recorded."
    rows = [
        "| corpus | utterances | speakers | of them for development | hash of the recordings |",
        "|---|---|---|---|---|",
    ]
    for name, facts in corpora.items():
        dev = ", ".join(facts.get("dev_speakers", [])) or "none: some utterances of all"
        rows.append(f"| {name} | {facts['utterances']} | {facts['speakers']} | {dev} | `{facts['sha256'][:16]}` |")
    return "\n".join(rows)


def _licences(corpora: Mapping[str, Any]) -> str:
    lines = [
        f"- {name}: {facts['licence']}. {facts['citation']}" for name, facts in corpora.items() if facts.get("licence")
    ]
    if not lines:
        return "That of the recordings it was trained on."
    terms = "The weights inherit the terms of the recordings they were trained on"
    if any("NC" in facts.get("licence", "") for facts in corpora.values()):
        terms += ", the non-commercial one included"
    return "\n".join([*lines, "", terms + ". The program's own licence covers the code only."])


def _training(description: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in description.get("versions", {}).items())
    training = description.get("training", {})
    lines = [
        f"- Command: `{description.get('command', 'not recorded')}`",
        f"- Seed: {description.get('seed', 'not recorded')}",
        f"- Versions: {versions or 'not recorded'}",
    ]
    if training:
        lines.append(f"- {_epochs(training)} on {training['device']} in {training['seconds']:.0f} s; {_kept(training)}")
        if training.get("interrupted"):
            lines.append("- The training was interrupted: the model is what there was by then.")
        lines.append(
            f"- On the development utterances: UAR {training['dev_uar']:.3f}, accuracy {training['dev_accuracy']:.3f}. "
            "They were looked at while training and set the calibration, so these are not test figures."
        )
    return "\n".join(lines)


def _epochs(training: Mapping[str, Any]) -> str:
    of_members = training.get("epochs_of_members", [training["epochs"]] * training.get("members", 1))
    if len(of_members) == 1:
        return f"{training['epochs']} {'epoch' if training['epochs'] == 1 else 'epochs'}"
    *most, last = map(str, of_members)
    counts = f"each trained for {last}" if len(set(of_members)) == 1 else f"trained for {', '.join(most)} and {last}"
    return f"{len(of_members)} networks that answer together, {counts} epochs"


def _kept(training: Mapping[str, Any]) -> str:
    if training["best_epoch"] == training["epochs"]:
        return f"weights of epoch {training['best_epoch']}, the last"
    of_first = " of the first" if training.get("members", 1) > 1 else ""
    return f"weights of the epoch of the highest development UAR, {training['best_epoch']}{of_first}"


def _figures(figures: Mapping[str, Any]) -> str:
    if not figures:
        return (
            "This model has not been tested on speakers of its own corpora, since it has seen them. "
            "`sercli evaluate` measures its recipe."
        )
    rows = [
        "Of the same recipe, with networks trained for the test, whose speakers only `paper` and `random10` know:",
        "",
        "| protocol | epochs, at most | seeds | UAR | 95 % interval over speakers | accuracy | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    for protocol, score in figures.items():
        low, high = map(_show, score["uar_interval"])
        epochs = score.get("max_epochs", "–")
        rows.append(
            f"| {protocol} | {epochs} | {score['seeds']} | {_show(score['uar'])} | {low} to {high} | "
            f"{_show(score['accuracy'])} | {_show(score['ece'])} |"
        )
    return "\n".join(rows)


def _show(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


_USE = """\
Made for research, teaching, and for sorting many recordings so that people listen to the right ones first.

- Acted emotion is not felt emotion. The model knows how actors portray eight labels on a few sentences; it does
  not know what anybody feels.
- Do not decide about people with it: not about work, credit, schooling, health, law or safety, and not about any
  single person at all. Several laws, the EU's AI Act among them, forbid or restrict emotion recognition at work
  and in education.
- Expect much lower accuracy on other languages, on spontaneous speech, on children's and old people's voices, and on
  lines and in noise that its training did not have. It was trained on young adult actors in a studio.
- Confidence is calibrated on the corpora above and on no others."""
