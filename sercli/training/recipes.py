"""Recipe: features, network, training and augmentation of a model. Included recipes are in ``sercli/recipes``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn

from sercli.config import Config, ParameterError, describe_unknown
from sercli.errors import UsageError
from sercli.features.frontend import FEATURES
from sercli.models.config import NetworkConfig
from sercli.training.classifiers import BASELINES

SCHEDULES = ("plateau", "one-cycle")
MAX_COPIES = 1_000  # of an utterance
_NAME = re.compile(r"\w[\w.-]{0,79}")  # also a folder name


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Config):
    """Training of a network.

    Attributes:
        batch_size: Segments per step; an utterance of up to 8 s is one.
        schedule: One of `SCHEDULES`. ``plateau`` reduces the learning rate when the development UAR stalls, and keeps
            the weights of the best epoch; ``one-cycle`` (Smith & Topin 2019) raises and lowers it over `max_epochs`,
            and keeps the last weights.
        learning_rate: Initial learning rate of AdamW, or the peak of the cycle.
        weight_decay: Weight decay of AdamW (Loshchilov & Hutter 2019) and Muon, except for biases and normalization
            layers.
        muon: Learning rate of Muon (Jordan et al. 2024) for weight matrices, as a multiple of `learning_rate`; 0 trains
            all parameters with AdamW.
        max_gradient: Norm to which gradients are clipped; 0 for none.
        label_smoothing: Share of the target that is spread over all labels, 0 to 1.
        masked: Whether to score each training utterance only among the labels of its corpus; otherwise the network
            learns to recognize a corpus by the labels that only it has.
        max_epochs: Maximum number of epochs.
        patience: Epochs without a better development UAR before training stops.
        plateau_patience: Epochs without a better development UAR before the learning rate is reduced.
        plateau_factor: Factor applied to the learning rate.
        copies: Number of augmented copies of each training utterance; the store must have them.
    """

    batch_size: int = 32
    schedule: str = "plateau"
    learning_rate: float = 0.000_2
    weight_decay: float = 0.0
    muon: float = 0.0
    max_gradient: float = 0.0
    label_smoothing: float = 0.0
    masked: bool = False
    max_epochs: int = 100
    patience: int = 12
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    copies: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_epochs", "patience", "plateau_patience"):
            self._require(condition=getattr(self, name) >= 1, name=name, expected="at least 1")
        self._require(condition=0 < self.learning_rate <= 100, name="learning_rate", expected="over 0, up to 100")
        self._require(condition=0 < self.plateau_factor < 1, name="plateau_factor", expected="between 0 and 1")
        self._require(condition=self.schedule in SCHEDULES, name="schedule", expected=f"one of {', '.join(SCHEDULES)}")
        for name in ("weight_decay", "muon", "max_gradient"):
            self._require(condition=0 <= getattr(self, name) <= 10_000, name=name, expected="0 to 10000")
        self._require(condition=0 <= self.label_smoothing < 1, name="label_smoothing", expected="0 to under 1")
        self._require(condition=0 <= self.copies <= MAX_COPIES, name="copies", expected=f"0 to {MAX_COPIES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig(Config):
    """Strength of the augmentation, drawn anew for each utterance and epoch.

    Attributes:
        crop: Share of utterances of which only a random piece of 1 to 3 s is used, 0 to 1.
        speed: Maximum absolute log of the playing speed.
        warp: Maximum absolute log of the factor on all frequencies (Jaitly & Hinton 2013, "VTLP").
        degraded: Share of utterances with another frequency response, noise or a telephone codec, 0 to 1.
        reverberation: Share of degraded utterances in a reverberant room, 0 to 1.
        babble: Share of noisy utterances with babble of other utterances rather than steady noise, 0 to 1.
        noise_margin: Longest noise before and after a noisy utterance (s).
        frequency_mask: Maximum width of the frequency mask in bands, at most n_mels / 4 (Park et al. 2019,
            "SpecAugment").
        time_mask: Maximum width of the time mask in frames, at most n_frames / 4.
        mixup: Parameter of the beta distribution of a batch's mixing weight; 0 turns mixup off (Zhang et al. 2018).
    """

    crop: float = 0.0
    speed: float = 0.0
    warp: float = 0.0
    degraded: float = 0.0
    reverberation: float = 0.0
    babble: float = 0.0
    noise_margin: float = 0.0
    frequency_mask: int = 0
    time_mask: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop", "speed", "warp", "degraded", "reverberation", "babble"):
            self._require(condition=0 <= getattr(self, name) <= 1, name=name, expected="0 to 1")
        self._require(condition=0 <= self.noise_margin <= 10, name="noise_margin", expected="0 to 10")
        for name in ("frequency_mask", "time_mask", "mixup"):
            self._require(condition=0 <= getattr(self, name) <= 10_000, name=name, expected="0 to 10000")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig(Config):
    """Distillation of an ensemble into one network (Hinton, Vinyals & Dean 2015).

    By default the student learns from the teachers alone, which score each augmented utterance just as the student
    hears it (Beyer et al. 2022, "Knowledge Distillation: A Good Teacher Is Patient and Consistent").

    Attributes:
        networks: Number of teachers; they are trained first, like networks of the recipe without teachers.
        max_epochs: Maximum number of epochs of each teacher; `TrainConfig.max_epochs` is that of the student.
        temperature: Divisor of the student's logits and of the teachers' mean logits.
        weight: Weight of the teachers' probabilities in the loss, 0 to 1; the labels have the rest.
    """

    networks: int = 2
    max_epochs: int = 40
    temperature: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        self._require(condition=1 <= self.networks <= 16, name="networks", expected="1 to 16")
        self._require(condition=self.max_epochs >= 1, name="max_epochs", expected="at least 1")
        self._require(condition=0 < self.temperature <= 100, name="temperature", expected="over 0, up to 100")
        self._require(condition=0 < self.weight <= 1, name="weight", expected="over 0, up to 1")


PARTS: Mapping[str, type[Config]] = {
    "network": NetworkConfig,
    "training": TrainConfig,
    "augmentation": AugmentConfig,
    "teachers": TeacherConfig,
}
"""Parameter sets of a recipe: tables in its file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Named recipe of a model.

    Attributes:
        name: Name, as in ``--recipe``.
        features: Names of the features, keys of `sercli.features.frontend.FEATURES`.
        network: Kind and sizes of the network; ignored for baselines.
        training: Training of the network; baselines use only `TrainConfig.copies`.
        augmentation: Augmentation of training batches; log-mel features only.
        teachers: Distillation; None if there is none.
        baseline: Key of `sercli.training.classifiers.BASELINES`; empty for a network.
    """

    name: str
    features: tuple[str, ...]
    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    teachers: TeacherConfig | None = None
    baseline: str = ""

    def __post_init__(self) -> None:
        if self.baseline and self.baseline not in BASELINES:
            _refuse("baseline", f"should be one of {', '.join(BASELINES)}, found {self.baseline!r}")
        if self.baseline and self.teachers:
            _refuse("teachers", f"should be left out: the baseline {self.baseline} has none")
        if not _NAME.fullmatch(self.name):
            _refuse("name", f"should be up to 80 letters, digits, dots, - and _, found {self.name[:90]!r}")
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown or not self.features:
            _refuse("features", f"should be some of {', '.join(FEATURES)}, found {', '.join(unknown) or 'none'}")
        if self.augmentation != AugmentConfig() and self.features != ("logmel",) and not self.baseline:
            _refuse(
                "augmentation",
                f"works on the feature logmel alone, found {', '.join(self.features)}: base the recipe on paper, which "
                "has none, or give logmel alone",
            )

    @property
    def epochs(self) -> tuple[int, ...]:
        """Maximum number of epochs of each network to train, teachers first."""
        teachers = (self.teachers.max_epochs,) * self.teachers.networks if self.teachers else ()
        return (*teachers, *(self.training.max_epochs,) * self.network.members)

    def require_trainable(self) -> None:
        """Checks that the recipe makes a final model.

        Raises:
            UsageError: If it is a baseline.
        """
        self.require_network("is a baseline, only for 'sercli evaluate': train a recipe with a network")

    def require_tunable(self) -> None:
        """Checks that the recipe has parameters to search.

        Raises:
            UsageError: If it is a baseline.
        """
        self.require_network("is a baseline: only networks can be tuned")

    def require_network(self, problem: str) -> None:
        """Checks that the recipe is not a baseline.

        Args:
            problem: Rest of the sentence that begins with the recipe.

        Raises:
            UsageError: If it is one.
        """
        if self.baseline:
            msg = f"recipe {self.name} {problem}"
            raise UsageError(msg)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Reads a dict as returned by `to_dict`; missing parameters get their defaults.

        Raises:
            ParameterError: If a name is unknown or a value is invalid; `ParameterError.name` is ``table.name``.
        """
        known = {field.name for field in fields(cls)}
        for name in sorted(set(values) - known):
            _refuse(name, describe_unknown(name, known))
        if "name" not in values:
            _refuse("name", "is missing")
        features = values.get("features", [])
        if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
            _refuse("features", f"should be a list of names, found {features!r}")
        ordered = [name for name in FEATURES if name in features]
        ordered += [name for name in features if name not in FEATURES]  # to be refused
        parts: dict[str, Any] = {**values, "features": tuple(ordered)}
        for name, kind in PARTS.items():
            if name in values:
                try:
                    parts[name] = kind.from_dict(values[name])
                except ParameterError as reason:
                    _refuse(".".join(filter(None, (name, reason.name))), reason.problem)
        for name in ("name", "baseline"):
            if not isinstance(values.get(name, ""), str):
                _refuse(name, f"should be text, found {values[name]!r}")
        return cls(**parts)

    def with_max_epochs(self, max_epochs: int | None) -> "Recipe":
        """Returns the recipe with another maximum number of epochs, which teachers do not exceed; None keeps it.

        Raises:
            UsageError: If it is a baseline.
        """
        if max_epochs is None:
            return self
        self.require_network("has no epochs: leave out --max-epochs")
        teachers = self.teachers
        if teachers:
            teachers = replace(teachers, max_epochs=min(max_epochs, teachers.max_epochs))
        return replace(self, training=replace(self.training, max_epochs=max_epochs), teachers=teachers)

    def with_members(self, members: int | None) -> "Recipe":
        """Returns the recipe for an ensemble of this many networks; None keeps it."""
        return self if members is None else replace(self, network=replace(self.network, members=members))

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as a JSON-ready dict."""
        return {
            "name": self.name,
            "features": list(self.features),
            "network": self.network.to_dict(),
            "training": self.training.to_dict(),
            "augmentation": self.augmentation.to_dict(),
            **({"teachers": self.teachers.to_dict()} if self.teachers else {}),
            **({"baseline": self.baseline} if self.baseline else {}),
        }


def _refuse(name: str, problem: str) -> NoReturn:
    owner = "Recipe"
    raise ParameterError(owner, name, problem) from None
