"""Which options of ``a3c`` go together: a draw must be judged by its own probability.

Wrong pairs are either meaningless, and always refused, or literal readings of the method, which
run when they are asked for by name (``mismatch: allow``). Both lists stand in
``docs/methods/ahm.md``.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch import Tensor

from maskwise.pretrain.policies.a3c.advantage import Advantage
from maskwise.pretrain.policies.a3c.bernoulli import bernoulli, bernoulli_terms
from maskwise.pretrain.policies.a3c.exact import (
    conditional_bernoulli,
    conditional_bernoulli_terms,
)
from maskwise.pretrain.policies.a3c.reward import Credit
from maskwise.pretrain.policies.a3c.sampling import (
    Choice,
    gumbel_topk,
    plackett_luce_terms,
    softmax_terms,
    topk,
)

SamplerName = Literal["gumbel_topk", "bernoulli", "topk"]
LogpName = Literal["plackett_luce", "bernoulli", "softmax"]
Sampler = Callable[[Tensor, int, Tensor], Choice]
"""Scores ``(B, L)``, the number of hidden cells and one uniform draw per cell to a choice."""
Terms = Callable[[Tensor, Choice], Tensor]
"""Scores and a choice to terms ``(B, n)`` of its log-probability, with their gradient."""

SAMPLERS: Mapping[SamplerName, Sampler] = {
    "bernoulli": bernoulli,
    "gumbel_topk": gumbel_topk,
    "topk": topk,
}
TERMS: Mapping[LogpName, Terms] = {
    "bernoulli": bernoulli_terms,
    "plackett_luce": plackett_luce_terms,
    "softmax": softmax_terms,
}
TRUE: Mapping[SamplerName, LogpName] = {
    "gumbel_topk": "plackett_luce",
    "bernoulli": "bernoulli",
}
"""Each sampler's true log-probability; ``topk`` draws nothing and has none."""
SUITED: Mapping[Credit, tuple[Advantage, ...]] = {
    "cell": ("cell_expected", "cell_value"),
    "to_go": ("to_go",),
    "image": ("image_batch", "image_value", "cell_value"),
}


def law(
    sampler: SamplerName, logp: LogpName, exact_k: bool, number: int
) -> tuple[Sampler, Terms]:
    """Return how masks of ``number`` cells are drawn, and how their probability is computed."""
    if exact_k:
        return conditional_bernoulli, partial(conditional_bernoulli_terms, number=number)
    return SAMPLERS[sampler], TERMS[logp]


def refuse_meaningless(
    sampler: SamplerName, logp: LogpName, exact_k: bool, credit: Credit, advantage: Advantage
) -> None:
    """Raise ``ValueError`` for what no reading of the method can mean."""
    if sampler == "bernoulli" and logp != "bernoulli":
        raise ValueError(
            f"logp: {logp} is of cells picked one after another, but sampler: bernoulli draws "
            "each by itself; use logp: bernoulli"
        )
    if logp == "bernoulli" and credit != "image":
        raise ValueError(
            f"reward.credit: {credit} leaves visible cells without a reward, but logp: "
            "bernoulli needs theirs too; use reward.credit: image"
        )
    if advantage not in SUITED[credit]:
        raise ValueError(
            f"advantage: {advantage} does not suit reward.credit: {credit}; use advantage: "
            f"{' or '.join(SUITED[credit])}"
        )
    if exact_k and sampler != "bernoulli":
        raise ValueError("exact_k needs sampler: bernoulli; the others hide exactly K anyway")


def mismatches(sampler: SamplerName, logp: LogpName, advantage: Advantage) -> list[str]:
    """Return a sentence for each pair that runs, but learns something else than is meant."""
    found = []
    if sampler not in TRUE:
        found.append(
            f"sampler: {sampler} draws nothing, so its choices have no probability to learn "
            "from; use sampler: gumbel_topk"
        )
    elif TRUE[sampler] != logp:
        found.append(
            f"logp: {logp} is not the log-probability of what sampler: {sampler} draws; use "
            f"logp: {TRUE[sampler]}"
        )
    if advantage == "cell_value" and logp != "bernoulli":
        found.append(
            "advantage: cell_value takes a pick's own value off its reward, which leaves no "
            "gradient where the value is right; use advantage: cell_expected, or sampler and "
            "logp: bernoulli"
        )
    return found
