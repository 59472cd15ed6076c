"""Class-conditional conformal prediction: sets that hold the truth as often as they say.

Vovk, "Conditional validity of inductive conformal predictors" (ACML 2012), who calls the sets
Mondrian; the score of an answer is 1 - its probability (Sadinle, Lei and Wasserman, "Least
ambiguous set-valued classifiers", JASA 2019). An answer is in the set at the level 1 - a unless
its p is a or less, where p compares it with held-out patients to whom that answer applied:

    p = (1 + held-out scores of the answer that are as high or higher) / (1 + held-out scores)

*Patient-wise.* The images of one patient are alike, so that they are one piece of evidence: per
answer a patient counts once, with the **highest** score among the images that it is true of. If
patients are exchangeable, a set at 1 - a then holds the truth **for all images of a new patient
at once** in at least a share 1 - a of the patients of each class, and so for one random image
of a random patient. Counted by images the share may be lower, because a patient of many images
is missed more easily. The bound also holds for a mean, or a maximum, of a patient's
probabilities. The validation images that calibrate a model also chose its strength or learning
rate, so that the promise is not exact.

Shapes: N images, A answers.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.errors import UserError
from maskwise.wording import count

NEAR = 1e-9
"""By how much a p may exceed its bound: 1 - 0.9 is 0.09999999999999998 to a computer."""


@dataclass(frozen=True)
class Calibration:
    """What held-out patients say of each answer."""

    answers: tuple[str, ...]
    """What can be true of an image: a class; of several labels each, and its absence."""
    scores: tuple[Floats, ...]
    """Of each answer one score per held-out patient of whom it is true, ascending."""

    @classmethod
    def of(
        cls,
        answers: tuple[str, ...],
        chances: Floats,
        shows: NDArray[np.bool_],
        patients: NDArray[np.object_],
    ) -> "Calibration":
        """Take the highest score of each patient.

        Args:
            answers: names.
            chances: ``(N, A)`` of held-out images: the probability of each answer.
            shows: ``(N, A)``, whether it is true.
            patients: ``(N,)``, or whatever else belongs together: the manifest's groups.
        """
        columns = zip(1 - chances.T, shows.T, strict=True)
        return cls(answers, tuple(worst(each[true], patients[true]) for each, true in columns))

    def p_values(self, chances: Floats) -> Floats:
        """Return p of every answer ``(N, A)``, from the probabilities ``(N, A)``."""
        columns = zip(self.scores, (1 - chances).T, strict=True)
        return np.stack([p_values(held_out, each) for held_out, each in columns], axis=1)

    def sets(self, chances: Floats, level: float) -> NDArray[np.bool_]:
        """Say which answers are in each image's set at ``level``, ``(N, A)``."""
        return self.p_values(chances) > 1 - level + NEAR

    def check(self, level: float, where: str) -> None:
        """Refuse a level that no set can keep to without holding every answer.

        Raises:
            UserError: naming the answers with too few held-out patients, how many are lacking,
                and which level they allow.
        """
        least = needed(level)
        few = {
            name: len(held_out)
            for name, held_out in zip(self.answers, self.scores, strict=True)
            if len(held_out) < least
        }
        if not few:
            return
        told = ", ".join(f"{name!r} has {n} ({least - n} too few)" for name, n in few.items())
        allowed = attainable(min(few.values()))
        lower = f"set it to {allowed:g} or less, or " if allowed > 0 else ""
        asked = count(least, "held-out patient")
        raise UserError(
            f"{where}: is {level:g}, for which each answer needs {asked}, but {told}; "
            f"{lower}label more patients and run finetune again"
        )


def of_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the answers of a model that tells several labels: each, then its absence."""
    return (*labels, *(f"not {label}" for label in labels))


def chances_of_labels(chances: Floats) -> Floats:
    """Return the probabilities of ``of_labels`` ``(N, 2 L)``, from each label's ``(N, L)``."""
    return np.concatenate([chances, 1 - chances], axis=1)


def worst(scores: Floats, patients: NDArray[np.object_]) -> Floats:
    """Return the highest of each patient's ``scores`` ``(N,)``, ascending."""
    names, which = np.unique(patients.astype(str), return_inverse=True)
    highest = np.full(len(names), -np.inf)
    np.maximum.at(highest, which.reshape(-1), scores)
    return np.sort(highest)


def p_values(held_out: Floats, scores: Floats) -> Floats:
    """Return p of each of ``scores`` ``(N,)`` among ``held_out``, ascending."""
    as_high = len(held_out) - np.searchsorted(held_out, scores, side="left")
    return np.asarray((1 + as_high) / (1 + len(held_out)))


def needed(level: float) -> int:
    """Return the fewest held-out patients with which p can fall to 1 - ``level``."""
    return math.ceil(1 / (1 - level) - 1 - NEAR)


def attainable(patients: int) -> float:
    """Return the highest level, of two digits, that so many held-out patients allow."""
    return math.floor(100 * (1 - 1 / (1 + patients)) + NEAR) / 100
