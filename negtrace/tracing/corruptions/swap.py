"""Swap: the false statement replaces the true one."""

__all__ = ["Swap"]

from dataclasses import dataclass

from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.pairs.alignment import align
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import Contrast, Run


@CORRUPTIONS.register("swap")
@dataclass(frozen=True, kw_only=True)
class Swap(Corruption):
    """The false statement replaces the true one (symmetric token replacement).

    Zhang & Nanda (arXiv 2309.16042) recommend this corruption; NAST (arXiv 2602.12498) and
    Quantmeyer et al. (arXiv 2407.10488) use it. It works on pairs of either polarity. Where the
    statements differ in more than the negation, its effects count that difference too.
    """

    name = "swap"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        alignment = align(pair, true, false)
        return [
            Contrast(
                clean=Run(ids=true.ids, roles=alignment.roles_true, read_out=true.read_out),
                corrupt=Run(ids=false.ids, roles=alignment.roles_false, read_out=false.read_out),
                clean_from_corrupt=alignment.true_from_false,
                corrupt_from_clean=alignment.false_from_true,
                first_difference=alignment.first_difference,
                rule=alignment.rule,
                differing=alignment.differing,
            )
        ]
