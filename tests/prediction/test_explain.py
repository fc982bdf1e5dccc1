"""Evidence that is planted in a sound is where the explanation of the answer points."""

import itertools
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from typer.testing import CliRunner

from sercli.audio.preprocess import preprocess
from sercli.audio.segmentation import WINDOWS, SegmentationConfig
from sercli.audio.signal import Signal
from sercli.cli.app import app
from sercli.errors import AudioError, UsageError
from sercli.features.frontend import extract_features
from sercli.models.config import NetworkConfig
from sercli.models.export import export_network, pack_weights
from sercli.models.model import Model, save_model
from sercli.models.networks import build_network
from sercli.models.normalizer import Normalizer
from sercli.prediction.explain import N_BANDS, Explanation, explain, write_explanation
from tests.benchmarks.explanation import ACTORS, PLACES, find_clip, join_clips, share_between
from tests.sounds import SAMPLES, write_sound
from tests.toy_model import FEATURES, build_model

RATE = 16_000
START, END = 1.0, 1.25  # seconds, of the planted tone in a sound of 3 s
HERTZ, LOW, BETWEEN = 2_500.0, 600.0, 1_300.0  # of the planted tone, of that of the other emotion, of the rest
SMALL = NetworkConfig(
    channels=(8,), pool=4, lstm_size=4, attention_size=8, dense_size=8, dropout=0.0, dense_dropout=0.0
)


def make_sound(generator: np.random.Generator, seconds: float, hertz: float = HERTZ, start: float = START) -> Signal:
    """A steady tone in noise, and for a quarter of a second another tone in its place."""
    time = np.arange(round(seconds * RATE)) / RATE
    inside = (time >= start) & (time < start + END - START)
    tones = np.sin(2 * np.pi * np.where(inside, hertz, BETWEEN) * time)
    return (generator.normal(0, 0.02, len(time)) + 0.3 * tones).astype(np.float32)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    signal = make_sound(np.random.default_rng(0), 3.0).astype(np.float64)
    return write_sound(tmp_path_factory.mktemp("sounds") / "planted.wav", signal)


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model, bytes]:
    """A model that was trained to call high tones happy and low ones sad, the same with random weights, and the weights
    of the first."""
    generator = np.random.default_rng(1)
    segmentation = SegmentationConfig(method=WINDOWS, max_segment=6.0, hop=6.0)
    labels = ("happy", "sad")
    model, _ = build_model(network_config=SMALL, labels=labels, segmentation=segmentation)
    sounds = [make_sound(generator, 2.0, HERTZ if n % 2 else LOW, generator.uniform(0, 1.7)) for n in range(48)]
    matrices = [
        extract_features(preprocess(sound, model.audio).signal, FEATURES).astype(np.float32) for sound in sounds
    ]
    length = min(matrix.shape[1] for matrix in matrices)
    batch = np.stack([matrix[:, :length] for matrix in matrices])
    mean, std = batch.mean(axis=(0, 2)), batch.std(axis=(0, 2))
    inputs = torch.from_numpy((batch - mean[:, None]) / std[:, None])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build_network(SMALL, FEATURES.n_features, 2)
        fresh = export_network(build_network(SMALL, FEATURES.n_features, 2), FEATURES.n_features)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        targets = torch.tensor([1 - n % 2 for n in range(48)])
        for _ in range(60):
            optimizer.zero_grad()
            lengths = torch.full((48,), length)
            torch.nn.functional.cross_entropy(network(inputs, lengths), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    trained = replace(
        model,
        graph=export_network(network, FEATURES.n_features),
        normalizer=Normalizer(mean=mean.astype(np.float32), std=std.astype(np.float32)),
        temperature=1.0,
    )
    return trained, replace(trained, graph=fresh), pack_weights(network)


@pytest.fixture(scope="module")
def explanation(planted: Path, models: tuple[Model, Model, bytes]) -> Explanation:
    return explain(planted, models[0])


def test_planted_evidence_is_found_in_time_and_frequency(explanation: Explanation) -> None:
    (segment,) = explanation.segments
    assert (explanation.emotion, explanation.n_segments) == ("happy", 1)
    assert (segment.start, segment.end) == pytest.approx((0.0, 3.0), abs=0.05)
    # Its share of the time is 0.15.
    assert share_between(segment.attention[0], START, END, 3.0) > 0.22
    assert share_between(segment.attribution.sum(axis=0), START, END, 3.0) > 0.5
    tone = segment.features[:, round(segment.features.shape[1] * (START + END) / 2 / 3.0)]
    band, cell = np.unravel_index(segment.attribution.argmax(), segment.attribution.shape)
    assert band == int(tone.argmax()) * N_BANDS // FEATURES.n_mels
    assert START - 0.25 < cell * 3.0 / segment.attribution.shape[1] < END


def test_a_clip_of_anger_is_found_between_clips_of_calm(corpora: Path, tmp_path: Path) -> None:
    """By the model that comes with sercli; the actors are its development speakers."""
    found = [
        find_clip(tmp_path / "a.wav", join_clips(corpora / "ravdess", actor, "angry", place, sentence=sentence), place)
        for actor, place, sentence in itertools.product(ACTORS, PLACES, (1, 2))
    ]
    right = [each for each in found if each.emotion == "angry"]  # the explanation of the others is of their answers
    assert len(right) >= 3
    time = np.mean([each.time for each in right])
    assert np.mean([each.attention for each in right]) > 1.5 * time
    assert np.mean([each.attribution for each in right]) > 1.5 * time


def test_random_weights_give_another_map(
    explanation: Explanation, planted: Path, models: tuple[Model, Model, bytes]
) -> None:
    """The sanity check of Adebayo et al. 2018."""
    (trained,), (fresh,) = explanation.segments, explain(planted, models[1]).segments
    assert share_between(fresh.attention[0], START, END, 3.0) < 0.18
    assert np.abs(fresh.attribution).max() < np.abs(trained.attribution).max() / 4
    assert spearmanr(trained.attribution.ravel(), fresh.attribution.ravel()).statistic < 0.5


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html", ".json"])
def test_names_and_labels_that_are_no_text_or_no_formula(
    suffix: str, planted: Path, models: tuple[Model, Model, bytes], tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 $x_{.wav")
    odd.write_bytes(planted.read_bytes())
    model = replace(models[0], labels=("pay $5_{ or $6", "sad"))
    write_explanation(tmp_path / f"o{suffix}", explain(odd, model))
    assert (tmp_path / f"o{suffix}").stat().st_size > 1000


@pytest.mark.parametrize(("suffix", "begin"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".html", b"<!doctype html>")])
def test_pictures_and_pages(
    suffix: str, begin: bytes, planted: Path, models: tuple[Model, Model, bytes], tmp_path: Path
) -> None:
    save_model(tmp_path / "m", models[0], models[2])
    named = tmp_path / "<b>$x.wav"
    named.write_bytes(planted.read_bytes())
    out = tmp_path / f"out{suffix}"
    result = CliRunner().invoke(app, ["explain", str(named), "--model", str(tmp_path / "m"), "--out", str(out)])
    assert (result.exit_code, result.stdout) == (0, "")
    content = out.read_bytes()
    assert content.startswith(begin)
    assert b"<b>" not in content
    assert 5_000 < len(content) < 400_000


def test_json_says_the_same_as_the_library(
    explanation: Explanation, planted: Path, models: tuple[Model, Model, bytes], tmp_path: Path
) -> None:
    save_model(tmp_path / "m", models[0], models[2])
    result = CliRunner().invoke(app, ["explain", str(planted), "--model", str(tmp_path / "m")])
    found = json.loads(result.stdout)
    assert found == explanation.to_dict()
    np.testing.assert_allclose(found["segments"][0]["attribution"], explanation.segments[0].attribution, atol=1e-4)


def test_a_channel_is_explained_by_itself(planted: Path, models: tuple[Model, Model, bytes], tmp_path: Path) -> None:
    low, high = (make_sound(np.random.default_rng(0), 3.0, hertz) for hertz in (LOW, HERTZ))
    path = write_sound(tmp_path / "call.wav", np.stack([low, high], axis=1))
    assert [explain(path, models[0], channel=channel).emotion for channel in ("1", "2")] == ["sad", "happy"]
    write_explanation(tmp_path / "why.html", explain(path, models[0], channel="2"))
    assert "call.wav, channel 2: why happy" in (tmp_path / "why.html").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="no channel '3': expected mix or 1 or 2"):
        explain(path, models[0], channel="3")


def test_channels_that_are_scored_separately_are_named(planted: Path, models: tuple[Model, Model, bytes]) -> None:
    call = SAMPLES / "calls/stereo.flac"
    mixed, alone = explain(call, models[0]), explain(planted, models[0])
    assert (mixed.channel, mixed.separate) == ("mix", ("1", "2"))
    assert replace(mixed, separate=()).to_dict() == explain(call, models[0], channel="mix").to_dict()
    assert (alone.channel, alone.separate) == ("mix", ())


def test_silence_and_unknown_formats_are_refused(models: tuple[Model, Model, bytes], tmp_path: Path) -> None:
    silence = write_sound(tmp_path / "silence.wav", np.zeros(RATE, np.float32))
    with pytest.raises(AudioError, match=r"silence\.wav: no speech found"):
        explain(silence, models[0])
    (tmp_path / "text.wav").write_text("text")
    for name, reason in (("text.wav", "is not a sound file"), ("gone.wav", "no such file"), (".", "is a folder")):
        with pytest.raises(AudioError, match=f"^{re.escape(str(tmp_path / name))}: {reason}"):
            explain(tmp_path / name, models[0])
    result = CliRunner().invoke(app, ["explain", str(silence), "--out", str(tmp_path / "x.gif")])
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "x.gif").exists()


def test_times_are_those_of_the_recording_where_silence_was_trimmed(
    models: tuple[Model, Model, bytes], tmp_path: Path
) -> None:
    sound = make_sound(np.random.default_rng(0), 3.0).astype(np.float64)
    # Windows of 6 s: the first is silent up to 1.5 s, the second from 3.5 s on.
    signal = np.concatenate([np.zeros(RATE * 3 // 2), np.resize(sound, RATE * 8), np.zeros(RATE * 5 // 2)])
    found = explain(write_sound(tmp_path / "a.wav", signal), models[0])
    assert [(s.start, s.end) for s in found.segments] == [
        pytest.approx(span, abs=0.1) for span in ((1.5, 6.0), (6.0, 9.5))
    ]
