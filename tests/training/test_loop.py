from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sercli.errors import ModelError
from sercli.models.networks import build_network
from sercli.splits.fold import Fold
from sercli.training.data import CorpusFeatures
from sercli.training.loop import Teacher, autocast, fit, one_cycle
from sercli.training.recipes import TeacherConfig
from tests.training.toy import (
    CPU,
    SMALL,
)


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = np.array([one_cycle(share) for share in np.linspace(0, 1, 501)])
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.max() == pytest.approx(1.0)
    assert rates[-1] < 1e-4
    assert rates.argmax() == 100
    assert (np.diff(rates[:101]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux lists what the CPU can do")
def test_a_cpu_that_multiplies_in_bfloat16_is_used_for_it() -> None:
    able = {"amx_bf16", "avx512_bf16"} & set(Path("/proc/cpuinfo").read_text(encoding="ascii").split())
    with autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if able else torch.float32)


def test_a_loss_that_is_not_finite_stops_the_training(features: CorpusFeatures, fold: Fold) -> None:
    normalizer = features.fit_normalizer(fold.train)
    batches = features.batches(fold.train, normalizer, device=CPU)
    batches.mean.fill_(torch.nan)
    network = build_network(SMALL.network, len(normalizer.mean), len(features.labels))
    with pytest.raises(ModelError, match="diverged in epoch 1"):
        fit(network, batches, batches, SMALL.training, seed=0)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_that_answers_like_its_teacher_learns_from_the_labels_alone(temperature: float) -> None:
    answers = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5)

    class Echo(nn.Module):
        def forward(self, features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            return features

    def differentiate(logits: torch.Tensor, weight: float) -> torch.Tensor:
        logits = logits.clone().requires_grad_()
        teacher = Teacher(network=Echo(), config=TeacherConfig(temperature=temperature, weight=weight))
        loss = teacher.blend(
            nn.functional.cross_entropy(logits, labels), logits, answers, labels, torch.ones_like(logits)
        )
        return torch.autograd.grad(loss, logits)[0]

    assert differentiate(answers, 1.0).abs().max() < 1e-6
    hits = nn.functional.one_hot(labels, 8)
    torch.testing.assert_close(differentiate(answers, 0.4), 0.6 * (answers.softmax(1) - hits) / 5)
    expected = temperature * ((2 * answers / temperature).softmax(1) - (answers / temperature).softmax(1)) / 5
    torch.testing.assert_close(differentiate(2 * answers, 1.0), expected)
