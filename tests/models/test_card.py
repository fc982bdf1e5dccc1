import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sercli.models.card import render_card
from sercli.models.folder import CARD_FILE, DEFAULT_MODEL, read_description
from sercli.models.model import Model, save_model
from tests.models.toy import DATA


def test_the_card_says_data_licence_and_limits(folder: Path) -> None:
    card = (folder / "MODEL_CARD.md").read_text()
    for part in ("CC BY-NC-SA 4.0", "non-commercial", "Acted emotion is not felt emotion", "Livingstone", "1440"):
        assert part in card


def test_the_card_that_comes_with_sercli_follows_from_the_description() -> None:
    card = (DEFAULT_MODEL / CARD_FILE).read_text(encoding="utf-8")
    assert card == render_card(read_description(DEFAULT_MODEL))
    _, _, terms = card.partition("\n## License\n\n")
    nemo, ravdess, empty, *_ = terms.splitlines()
    assert nemo.startswith("- nemo: CC BY-NC-SA 4.0. Christop I (2024)")
    assert ravdess.startswith("- ravdess: CC BY-NC-SA 4.0. Livingstone SR, Russo FA (2018)")
    assert not empty


def test_the_card_of_a_model_trained_on_own_recordings_says_nothing_of_actors(model: Model, tmp_path: Path) -> None:
    own = {**DATA["ravdess"], "license": "", "language": ""}
    for name, data in (("own", {"csv": own}), ("mixed", {"csv": own, **DATA})):
        save_model(tmp_path / name, replace(model, facts={**model.facts, "training_data": data}), b"")
        card = (tmp_path / name / "MODEL_CARD.md").read_text()
        assert f"Training data: {', '.join(data)}.\n" in card
        assert not re.search("[Aa]cted|actors|studio|adult", card)


def test_the_card_says_which_tests_had_unseen_speakers(model: Model, tmp_path: Path) -> None:
    score = {"seeds": 1, "uar": 0.5, "uar_interval": [0.4, 0.6], "accuracy": 0.25, "ece": None, "command": "sercli"}
    figures = {"loso": {**score, "speaker_independent": True}, "split": {**score, "speaker_independent": False}}
    save_model(tmp_path, replace(model, facts={**model.facts, "figures": figures}), b"")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| loso | – | – | unseen | – |" in card
    assert "| split | – | – | may be in training | – |" in card


def test_the_card_leaves_open_what_is_undefined(model: Model, tmp_path: Path) -> None:
    score = {"seeds": 1, "uar": 0.5, "uar_interval": [None, None], "accuracy": 0.25, "ece": None, "command": "sercli"}
    score |= {"corpora": ["nemo", "ravdess"], "labels": ["sad", "happy"]}
    save_model(tmp_path, replace(model, facts={**model.facts, "figures": {"paper": score}}), b"")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert "| paper | nemo, ravdess | 2 | may be in training | – | 1 | 0.500 | – to – | 0.250 | – |" in card


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"epochs": [25, 25, 17], "best_epoch": [25, 25, 17], "members": 3},
            "- 3 networks; epochs: 25, 25, 17; weights from epoch",
        ),
        ({"best_epoch": [11]}, "- 1 network; epochs: 25; weights from epoch 11; on cpu in 9 s"),
        ({"interrupted": True}, "- The training was interrupted; it can be resumed."),
    ],
)
def test_the_card_says_how_long_each_network_was_trained(
    model: Model, tmp_path: Path, given: dict[str, Any], expected: str
) -> None:
    training = {"epochs": [25], "best_epoch": [25], "members": 1, "device": "cpu", "seconds": 9.0}
    facts = {**model.facts, "training": {**training, "dev_uar": 0.5, "dev_accuracy": 0.5, **given}}
    save_model(tmp_path, replace(model, facts=facts), b"")
    card = (tmp_path / "MODEL_CARD.md").read_text()
    assert expected in card
    assert ("interrupted" in card) == given.get("interrupted", False)
