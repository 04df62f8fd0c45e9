"""How the negation is destroyed: each corruption turns a pair into clean and corrupted runs."""

__all__ = [
    "CORRUPTIONS",
    "Contrast",
    "Corruption",
    "Neutral",
    "Noise",
    "Run",
    "Swap",
    "corruption_named",
]

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs import Pair
from negtrace.registry import Registry
from negtrace.roles import AlignmentError, lay_out, token_roles
from negtrace.tokens import Tokens
from negtrace.tracing.plan import Group

Sources = tuple[tuple[int, ...], ...]
RunEdit = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One statement as the tower will run it."""

    ids: tuple[int, ...]
    roles: tuple[str, ...]
    """What each token does in its statement."""
    read_out: int | None
    """Position the embedding is read at; None where the tower pools over positions."""
    edit: RunEdit | None = None
    """Maps the input of block 0, [token width], to the one to run instead."""
    groups: tuple[Group, ...] = ()
    """Positions that are patched together, each with its label; none stands for each one alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrast:
    """A clean and a corrupted run, and which of their positions correspond."""

    clean: Run
    corrupt: Run
    clean_from_corrupt: Sources
    """For each clean position, the corrupted positions whose mean state stands for it."""
    corrupt_from_clean: Sources
    """The same, the other way round."""
    first_difference: int
    """First position at which the two runs differ."""


class Corruption(ABC):
    """A way to destroy the negation in the true statement of a pair.

    A subclass is a frozen dataclass: its fields are its settings, and part of the provenance.
    """

    name: ClassVar[str]

    @abstractmethod
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        """Return one contrast, or several samples of one, whose scores are averaged.

        Raises:
            AlignmentError: when this pair cannot be corrupted so; its reason is text-free.
        """

    def settings(self) -> dict[str, object]:
        """Return the name and every field, for the provenance."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


CORRUPTIONS: Registry[type[Corruption]] = Registry("corruption")


def corruption_named(name: str, settings: Mapping[str, object] | None = None) -> Corruption:
    """Return the corruption called `name`, made with `settings`.

    Raises:
        UnknownNameError: for a name that is not registered.
        TraceError: for a setting the corruption does not have, or a value of another type.
    """
    kind = CORRUPTIONS[name]
    usual = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    made: dict[str, object] = {}
    for setting, value in (settings or {}).items():
        if setting not in usual:
            raise TraceError(
                f"corruption {name!r} has no setting {setting!r}; "
                f"its settings are: {', '.join(usual) or 'none'}"
            )
        wanted = type(usual[setting])
        made[setting] = float(value) if wanted is float and isinstance(value, int) else value
        if type(made[setting]) is not wanted:
            raise TraceError(f"{setting} of {name!r} is {value!r}; expected {wanted.__name__}")
    return kind(**made)


@CORRUPTIONS.register("swap")
@dataclass(frozen=True, kw_only=True)
class Swap(Corruption):
    """The false statement takes the place of the true one (symmetric token replacement).

    The corruption that Zhang & Nanda (arXiv 2309.16042) recommend, and that NAST
    (arXiv 2602.12498) and Quantmeyer et al. (arXiv 2407.10488) use.
    """

    name = "swap"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        layout = lay_out(pair, true, false)
        return [
            Contrast(
                clean=Run(ids=true.ids, roles=layout.roles_true, read_out=true.read_out),
                corrupt=Run(ids=false.ids, roles=layout.roles_false, read_out=false.read_out),
                clean_from_corrupt=layout.true_from_false,
                corrupt_from_clean=layout.false_from_true,
                first_difference=layout.first_difference,
            )
        ]


@CORRUPTIONS.register("neutral")
@dataclass(frozen=True, kw_only=True)
class Neutral(Corruption):
    """Each token of the cue becomes a word that neither negates nor affirms."""

    name = "neutral"

    word: str = "the"
    """The neutral word; the encoder's tokenizer must read it as one token."""

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        roles, (start, end) = _negated_clean(pair, true)
        word = self.word.capitalize() if pair.true[start].isupper() else self.word
        phrase = " ".join([word, *[self.word] * (roles.count("cue") - 1)])
        reworded = pair.true[:start] + phrase + pair.true[end:]
        [neutral] = encoder.tokenize_against([reworded], [pair.anchor])
        same_length = len(neutral) == len(true)
        changed = {
            roles[i] for i in range(len(true)) if same_length and true.ids[i] != neutral.ids[i]
        }
        if changed != {"cue"}:
            raise AlignmentError(
                "neutral-word",
                "the neutral word does not fill the cue token for token; choose another word",
            )
        return [_same_tokens(true, roles, neutral.ids, None)]


@CORRUPTIONS.register("noise")
@dataclass(frozen=True, kw_only=True)
class Noise(Corruption):
    """Gaussian noise on the cue's embeddings (causal tracing, ROME, arXiv 2202.05262).

    Its size is a multiple of the standard deviation of the statement's own embeddings, so that
    a pair's result depends on no other pair; its seed is drawn from the pair's content.
    """

    name = "noise"

    multiple: float = 3.0
    """Standard deviation of the noise, in standard deviations of the embeddings."""
    samples: int = 8
    """Independent noise samples whose scores are averaged."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.multiple > 0 or self.samples < 1:
            raise TraceError(
                f"noise of {self.multiple} standard deviations in {self.samples} samples; "
                "expected a positive multiple and at least one sample"
            )

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        roles, _ = _negated_clean(pair, true)
        cue = [i for i, role in enumerate(roles) if role == "cue"]
        return [
            _same_tokens(true, roles, true.ids, self._edit(pair.digest, sample, cue))
            for sample in range(self.samples)
        ]

    def _edit(self, digest: str, sample: int, cue: list[int]) -> RunEdit:
        key = hashlib.sha256(f"{digest}|{self.seed}|{sample}".encode()).digest()

        def add_noise(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            # Drawn on the CPU in float32, so that every device and dtype gets the same noise.
            generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
            drawn = torch.randn(len(cue), hidden.shape[-1], generator=generator).to(hidden)
            noisy = hidden.clone()
            noisy[cue] += self.multiple * hidden.std() * drawn
            return noisy

        return add_noise


def _negated_clean(pair: Pair, true: Tokens) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Return the true statement's roles and cue span, or say that it holds no cue."""
    if pair.negated != "true" or pair.cue is None:
        raise AlignmentError(
            "affirmative-clean",
            "the true statement holds no cue to corrupt; swap works on such pairs",
        )
    return token_roles(pair.true, true, cue=pair.cue, subject=pair.subject), pair.cue


def _same_tokens(
    true: Tokens, roles: tuple[str, ...], ids: tuple[int, ...], edit: RunEdit | None
) -> Contrast:
    """Return the contrast of a run with a corruption of its own cue: positions correspond."""
    identity = tuple((i,) for i in range(len(true)))
    return Contrast(
        clean=Run(ids=true.ids, roles=roles, read_out=true.read_out),
        corrupt=Run(ids=ids, roles=roles, read_out=true.read_out, edit=edit),
        clean_from_corrupt=identity,
        corrupt_from_clean=identity,
        first_difference=roles.index("cue"),
    )
