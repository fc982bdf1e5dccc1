"""Model card: how to use a model, its training data, its accuracy, and its limits."""

from collections.abc import Mapping
from typing import Any


def render_card(description: Mapping[str, Any]) -> str:
    """Renders the card as Markdown.

    Args:
        description: Content of ``model.json``.
    """
    recipe = description.get("recipe", {}).get("name", "unknown")
    sections = [
        f"# Speech emotion model, recipe {recipe}",
        f"Recognizes emotions in recorded speech: {_list_labels(description)}.",
        "## Inputs and outputs",
        _interface(description),
        "## Training data",
        _data(description.get("training_data", {})),
        "## License",
        _licenses(description.get("training_data", {})),
        "## Training",
        _training(description),
        "## Figures",
        _figures(description.get("figures", {})),
        *_unlike(description.get("unlike_training_data", {})),
        *(f"![{title}]({name})" for name, title in description.get("pictures", {}).items()),
        "## Use",
        USE,
    ]
    return "\n\n".join(sections) + "\n"


def _list_labels(description: Mapping[str, Any]) -> str:
    """Lists the labels as code, so that Markdown and HTML do not interpret them."""
    return ", ".join(f"`{label.replace('`', chr(39))}`" for label in description["labels"])


def _interface(description: Mapping[str, Any]) -> str:
    features, rows = description["features"], len(description["normalization"]["mean"])
    labels, members = len(description["labels"]), description["network"].get("members", 1)
    temperature = description["calibration"]["temperature"]
    inputs = (
        f"- `model.onnx` takes `features`, float32 of shape (segments, {rows}, frames), zero beyond the frames of a "
        f"segment, and `n_frames`, int64 of shape (segments,). Rows are {' + '.join(features['names'])} of librosa, "
        f"and frames are {features['hop_length']} samples apart at {features['sample_rate']} Hz. Normalize first: "
        f"subtract `mean` and divide by `std`, {rows} numbers each, which `model.json` has under `normalization`."
    )
    outputs = (
        f"- It returns `logits`, float32 of shape (segments, {labels}), in the order of the labels above, and "
        f"`attention`, float32 of shape (segments, {members}, steps), which sums to 1 over time."
    )
    probabilities = (
        "- For the probabilities of a recording, average the logits of its segments, weighted by their seconds of "
        f"speech, divide by the temperature, {temperature:.4f}, and take the softmax. A recording of up to "
        f"{description['segmentation']['max_whole']:g} s is one segment."
    )
    typicality = ""
    if description.get("typicality"):
        typicality = (
            "\n- `embedding`, float32 of shape (segments, size), averaged over segments in the same way, has as its "
            "norm the Mahalanobis distance of a recording from the training data; where the embedding is nearer to "
            "`telephone` in `model.json`, the mean of training utterances through a telephone, its distance from that "
            "counts. `typicality` is the share of the development utterances at least as far, by the quantiles in "
            "`model.json`. Below "
            f"{description['typicality']['minimum']:g} a recording is called unlike the training data."
        )
    return f"{inputs}\n{outputs}\n{probabilities}{typicality}"


def _data(corpora: Mapping[str, Any]) -> str:
    if not corpora:
        return "Not recorded."
    rows = [
        "| corpus | utterances | speakers | development speakers | hash of the recordings |",
        "|---|---|---|---|---|",
    ]
    for name, facts in corpora.items():
        dev = ", ".join(facts.get("dev_speakers", [])) or "none: some utterances of all"
        rows.append(f"| {name} | {facts['utterances']} | {facts['speakers']} | {dev} | `{facts['sha256'][:16]}` |")
    return "\n".join(rows)


def _licenses(corpora: Mapping[str, Any]) -> str:
    lines = [
        f"- {name}: {facts['license']}. {facts['citation']}" for name, facts in corpora.items() if facts.get("license")
    ]
    if not lines:
        return "That of the recordings it was trained on."
    terms = "The weights inherit the terms of the recordings they were trained on"
    if any("NC" in facts.get("license", "") for facts in corpora.values()):
        terms += ", including the non-commercial one"
    return "\n".join([*lines, "", terms + ". The license of the program covers the code only."])


def _training(description: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in description.get("versions", {}).items())
    training = description.get("training", {})
    lines = [
        f"- Command: `{description.get('command') or 'not recorded'}`",
        f"- Seed: {description.get('seed', 'not recorded')}",
        f"- Versions: {versions or 'not recorded'}",
    ]
    if training:
        epochs, best = (", ".join(map(str, training[name])) for name in ("epochs", "best_epoch"))
        networks = f"{training['members']} networks" if training["members"] > 1 else "1 network"
        if training.get("teachers"):
            networks += f", distilled from {training['teachers']} of the same kind"
        lines.append(
            f"- {networks}; epochs: {epochs}; epochs of the weights: {best}; on {training['device']} in "
            f"{training['seconds']:.0f} s"
        )
        if training.get("interrupted"):
            lines.append("- The training was interrupted; it can be resumed.")
        lines.append(
            f"- Development utterances: UAR {training['dev_uar']:.3f}, accuracy {training['dev_accuracy']:.3f}. "
            "Training was monitored and calibrated with them, so these are not test figures."
        )
    return "\n".join(lines)


def _figures(figures: Mapping[str, Any]) -> str:
    if not figures:
        return (
            "This model has not been tested: it has seen the speakers of its corpora. `sercli evaluate` tests its "
            "recipe."
        )
    rows = [
        "Models of the same recipe, trained for the test; only `paper` and `random10` test speakers seen in training:",
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


def _unlike(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not shares:
        return []
    listed = ", ".join(f"{name} {each['plain']:.0%} ({each['telephone']:.0%})" for name, each in shares.items())
    return [f"Share of recordings called unlike the training data, in brackets through a telephone: {listed}."]


def _show(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


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
