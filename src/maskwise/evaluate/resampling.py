"""What another training and other test images would give: draws, their spread, p.

There are two kinds of chance. *Training*: a repetition is one network (of a seed, or of a
fold), and there are too few of them to draw with replacement, so that their mean is drawn from
Student's distribution with R - 1 degrees of freedom. *Test images*: whole groups are drawn with
replacement (bootstrap), where there are folds within each fold.

What the networks' figures differ by holds two things: that they are other networks, and that
each has its own luck with the test images. The second part is in the bootstrap as well, and
must not count twice: of the bootstrap only what the networks *share* is added. In folds they
share nothing, for each is tested on images of its own; then Student's part is everything.

The networks of folds are trained on overlapping images and so are not independent. Nadeau and
Bengio (2003) add n_test / n_train to 1 / k; here to the networks' own variance alone, because
the test images of folds do not overlap. Where folds happen to differ by less than their luck
with test images, that luck is taken instead: an interval of both kinds of chance is never
narrower than one of the test images alone.

Under ``LEAST`` repetitions training's part is not estimated at all.
"""

from dataclasses import dataclass

import numpy as np

from maskwise.array_types import Floats
from maskwise.seeds import stream

LEVEL = 0.95
"""Of all intervals."""
LEAST = 3
"""Repetitions from which the chance of training is estimated, and a p is given."""
_DIGITS = 12
"""Figures are rounded to so many decimals, because equal scores may be summed in another
order."""


@dataclass(frozen=True)
class Draws:
    """What is drawn once, for all recipes, modes, fractions and metrics."""

    student: Floats
    """``(B,)`` of Student's distribution; of too few repetitions zeros."""
    groups: Floats
    """``(G, 1 + B)``: how often the group is in the draw; column 0 is the data themselves."""
    sizes: tuple[int, ...]
    """Groups of the test set that all repetitions share, or of each fold."""
    repetitions: int

    @property
    def overlap(self) -> float:
        """n_test / n_train of folds, 0 where there are none.

        Nominal: the part that chooses and calibrates counts as trained on, and of folds those
        that are there.
        """
        return 1 / (len(self.sizes) - 1) if len(self.sizes) > 1 else 0.0

    @property
    def tells_training(self) -> bool:
        """Say whether there are repetitions enough."""
        return self.repetitions >= LEAST


def draw(repetitions: int, sizes: tuple[int, ...], draws: int, seed: int) -> Draws:
    """Draw ``draws`` times; equal arguments give equal draws.

    Args:
        repetitions: how many networks stand behind a figure.
        sizes: number of groups, in their order: of one test set, or of each fold.
        draws: how many draws.
        seed: of the generator.
    """
    generator = stream(seed, "bootstrap", "groups")
    return Draws(
        _student(repetitions, draws, stream(seed, "bootstrap", "repetitions")),
        np.concatenate([_counts(size, draws, generator) for size in sizes]),
        sizes,
        repetitions,
    )


def _student(units: int, draws: int, generator: np.random.Generator) -> Floats:
    if units < LEAST:
        return np.zeros(draws)
    return generator.standard_t(units - 1, draws)


def _counts(units: int, draws: int, generator: np.random.Generator) -> Floats:
    counts = generator.multinomial(units, np.full(units, 1 / units), size=draws)
    return np.concatenate([np.ones((units, 1)), counts.T], axis=1)


@dataclass(frozen=True)
class Part:
    """One kind of chance, or both: a variance of the value, and how well it is known."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Resampled:
    """One number: its value, its draws ``(B,)``, and what they spread by."""

    value: float
    draws: Floats
    """Training and test images drawn; of too few repetitions test images alone."""
    training: Part | None
    """Training alone; None of too few repetitions."""
    test: Part
    """Test images alone."""
    both: Part


def resample(values: Floats, draws: Draws, groups: int | None = None) -> Resampled:
    """Average a metric over the repetitions, and say how far to trust that.

    Args:
        values: the metric ``(R, 1 + B)``; column 0 is of the data themselves. Draws in which
            a repetition has no value are left out.
        draws: what was drawn.
        groups: how many groups the metric depends on, such as those of the rarest class; by
            default all.
    """
    values = np.round(values, _DIGITS)
    mean = values.mean(axis=0)
    value, defined = float(mean[0]), ~np.isnan(mean[1:])
    freedom = max(1.0, (sum(draws.sizes) if groups is None else groups) - 1.0)
    if np.isnan(value) or not defined.any():
        nothing = Part(float("nan"), freedom)
        return Resampled(value, np.full(len(defined), np.nan), None, nothing, nothing)
    few = _few_groups(draws.sizes)
    moved, spread = mean[1:] - value, float(mean[1:][defined].var())
    test = Part(spread * float(few.mean()), freedom)
    if not draws.tells_training:
        return Resampled(value, value + moved * np.sqrt(few.mean()), None, test, test)
    count, own = draws.repetitions, _own_luck(values[:, 1:][:, defined], few)
    seen = float(values[:, 0].var(ddof=1))
    networks = max(0.0, seen - own)
    # Of folds, luck with test images is all in here: no less than the bootstrap finds.
    whole = max(seen, own) / count + draws.overlap * networks if draws.overlap else seen / count
    training = Part(whole, count - 1.0)
    shared = Part(max(0.0, test.variance - own / count), freedom)
    # The bootstrap's own draws, made as narrow as what the networks share.
    narrow = np.sqrt(shared.variance / spread) if spread > 0 else 0.0
    return Resampled(
        value=value,
        draws=value + moved * narrow + np.sqrt(training.variance) * draws.student,
        training=Part(networks * (1 / count + draws.overlap), count - 1.0),
        test=test,
        both=_together(training, shared),
    )


def _few_groups(sizes: tuple[int, ...]) -> Floats:
    """Return n / (n - 1) of each test set: a bootstrap of n spreads by so much too little."""
    return np.array([size / (size - 1) if size > 1 else 1.0 for size in sizes])


def _own_luck(drawn: Floats, few: Floats) -> float:
    """Return the variance that one network's figure has by luck that the others do not share.

    ``drawn`` ``(R, B)`` are bootstrap draws; about their mean they spread by 1 - 1 / R of it.
    """
    apart = (drawn - drawn.mean(axis=0)).var(axis=1) * few
    return float(apart.sum() / (len(drawn) - 1))


def _together(one: Part, other: Part) -> Part:
    """Add variances, with Satterthwaite's degrees of freedom."""
    total = one.variance + other.variance
    if total <= 0:
        return Part(0.0, other.freedom)
    squares = one.variance**2 / one.freedom + other.variance**2 / other.freedom
    return Part(total, total**2 / squares)


def interval(drawn: Floats) -> tuple[float, float]:
    """Return the ends of the percentile interval of ``drawn`` ``(B,)``.

    They are order statistics chosen so that 0 lies outside exactly when ``p_value`` is at most
    1 - LEVEL. Undefined draws (a class is missing in the resample) are left out; NaN where
    fewer than 39 draws are defined.
    """
    ordered = np.sort(drawn[~np.isnan(drawn)])
    k = _tail(len(ordered))
    if k < 1:
        return float("nan"), float("nan")
    return float(ordered[k - 1]), float(ordered[-k])


def p_value(drawn: Floats) -> float:
    """Return the two-sided p of differences ``(B,)``, from the interval's own draws."""
    drawn = drawn[~np.isnan(drawn)]
    if _tail(len(drawn)) < 1:
        return float("nan")
    fewer = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (fewer + 1) / (len(drawn) + 1)))


def _tail(draws: int) -> int:
    """Return how many draws lie outside on each side, the interval's end included."""
    # 1e-9: 0.025 * 40 is 1, not 0.9999999999999999.
    return int((1 - LEVEL) / 2 * (draws + 1) + 1e-9)
