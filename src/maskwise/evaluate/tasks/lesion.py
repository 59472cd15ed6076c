"""The task ``lesion``: outlines against the true ones, by pixels counted and surfaces measured.

Each figure is computed of an image and class, averaged over images, then over classes. Beside
it stands the same of a unit: the pixels of all images of a volume, or of a group, together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.artefacts.tables import SEGMENTATION, check_columns
from maskwise.errors import UserError
from maskwise.evaluate.config import EmptyMasks, EvaluateConfig
from maskwise.evaluate.scales import Scale
from maskwise.evaluate.tasks.contract import Asides, nothing_to_score, other_task
from maskwise.evaluate.tasks.diagnosis import origin
from maskwise.evaluate.weighing import Weights
from maskwise.weighted import share

OVERLAPS = ("dice", "iou", "sensitivity", "precision", "lesion_dice", "false_alarms")
DISTANCES = ("hd95", "asd")
MEASURED = ("tp", "fp", "fn", "hd95", "asd", "unit_hd95", "unit_asd")
"""Columns of each class, ``<name>_<class>``."""
NEARLY_ALL = 0.95
"""Share of the test images without an outline, or a fault, from which little is told."""
_NEITHER: dict[EmptyMasks, float] = {"one": 1.0, "skip": float("nan"), "zero": 0.0}


@dataclass(frozen=True)
class Lesion:
    """Dice, IoU, sensitivity, precision, 95 % Hausdorff and average surface distance."""

    outlined: tuple[str, ...]
    """The classes of lesions."""
    kinds: tuple[str, ...]
    """Which classes an image may show."""
    unit: str
    """``volume`` or ``group``."""
    distance_unit: str
    """``mm`` or ``px``."""
    config: EvaluateConfig
    task: str = "lesion"
    noun: str = "class"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.kinds

    @property
    def shows(self) -> NDArray[np.bool_]:
        return np.eye(len(self.kinds), dtype=bool)

    def rests_on(self, metric: str) -> tuple[str, ...]:
        return ()

    def scale(self, metric: str) -> Scale:
        if metric.endswith(DISTANCES):
            return "distance"
        return "outcome" if metric.endswith("false_alarms") else "unit"

    @property
    def metrics(self) -> tuple[str, ...]:
        of_image = (*OVERLAPS, *DISTANCES)
        of_unit = tuple(f"{self.unit}_{name}" for name in of_image)
        return (*of_image, *of_unit, *self._dice_of)

    @property
    def leading(self) -> str:
        # A slice's Dice depends on how many slices show nothing; a volume's does not.
        return "volume_dice" if self.unit == "volume" else "dice"

    @property
    def chance(self) -> float:
        return 0.0

    @property
    def smaller_is_better(self) -> tuple[str, ...]:
        worse_when_larger = (*DISTANCES, "false_alarms")
        return tuple(name for name in self.metrics if name.endswith(worse_when_larger))

    @property
    def partly_defined(self) -> tuple[str, ...]:
        return tuple(name for name in self.metrics if name.endswith(DISTANCES))

    @property
    def surely_defined(self) -> tuple[str, ...]:
        # A network that calls nothing has no precision and no distance: `left_out` says so.
        return (self.leading,)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{kind}_{name}" for kind in MEASURED for name in self.outlined)

    @property
    def conventions(self) -> Mapping[str, Any]:
        return {
            "empty_masks": self.config.empty_masks,
            "unit": self.unit,
            "distance_unit": self.distance_unit,
            "outlined": list(self.outlined),
        }

    @property
    def _dice_of(self) -> tuple[str, ...]:
        several = len(self.outlined) > 1
        return tuple(f"dice_{name}" for name in self.outlined) if several else ()

    def check(self, test: pd.DataFrame, where: str) -> None:
        parts = self._parts(test[list(self.columns)].to_numpy(np.float64))
        counts = np.stack([parts[name] for name in ("tp", "fp", "fn")])
        # Distances may be NaN, counts may not.
        right = (counts >= 0).all(axis=(0, 2))
        for name in MEASURED[3:]:
            right &= ~(parts[name] < 0).any(axis=1)
        if not right.all():
            row = test[~right].iloc[0]
            raise UserError(
                f"{where}: {origin(row)}, image {row['image_id']}: its counts of pixels or "
                "its distances are negative or missing; run its finetune again"
            )
        torn = test.groupby("unit")["group"].nunique() > 1
        if torn.any():
            raise UserError(
                f"{where}: images of the {self.unit} {torn.idxmax()} are in several groups, "
                "which count as independent; make the groups of ingest larger"
            )

    def score(self, values: Floats, weights: Weights) -> Floats:
        images, units = self._of_images(values), self._of_units(values, weights)
        by_class = {name: mean_defined(each, weights.images) for name, each in images.items()}
        by_class |= {name: mean_defined(each, weights.units) for name, each in units.items()}
        # A mean over classes is undefined where one of them is: it would be of another thing.
        means = [each.mean(axis=1) for each in by_class.values()]
        if self._dice_of:
            means += list(by_class["dice"].T)
        return np.stack(means)

    def together(self, one: Floats, other: Floats) -> tuple[Floats, Floats, int]:
        parts = [self._parts(values) for values in (one, other)]
        measured = np.zeros(len(one), bool)
        for name in MEASURED[3:]:
            known = ~np.isnan(parts[0][name]) & ~np.isnan(parts[1][name])
            if name in DISTANCES:
                measured |= known.any(axis=1)
            for part in parts:
                part[name] = np.where(known, part[name], np.nan)
        first, second = (
            np.concatenate([part[name] for name in MEASURED], axis=1) for part in parts
        )
        return first, second, int(measured.sum())

    def asides(self, values: Floats, weights: Weights) -> Asides:
        figures = self._of_images(values) | self._of_units(values, weights)
        return {
            name: {"left_out": float(np.isnan(each).sum())} for name, each in figures.items()
        }

    def undefined(self, draws: int, of: int) -> str:
        return (
            f"{draws} of {of} draws held no image for which {self.leading} is defined; they "
            "were left out of its intervals."
        )

    def stuck(self, values: Floats, weights: Weights) -> str:
        parts, weight = self._parts(values), weights.images[:, 0] / weights.images[:, 0].sum()
        called, shown = parts["tp"] + parts["fp"] > 0, parts["tp"] + parts["fn"] > 0
        silent = weight @ ~np.any(called, axis=1)
        if silent >= NEARLY_ALL:
            return f"nothing was outlined in {silent:.0%} of the test images"
        for name, calls, shows in zip(self.outlined, called.T, shown.T, strict=True):
            there = weight @ shows
            missed = weight @ (shows & ~calls) / there if there else 0.0
            if missed >= NEARLY_ALL:
                part = f" as {name}" if self._dice_of else ""
                where = f"{missed:.0%} of the test images that show it"
                return f"nothing was outlined{part} in {where}"
        if weight @ np.all(self._of_images(values)["dice"] == 1, axis=1) >= NEARLY_ALL:
            return f"{NEARLY_ALL:.0%} of the test images were outlined without a fault"
        return ""

    def notes(self) -> list[str]:
        neither = {
            "one": "count as 1",
            "skip": "are left out",
            "zero": "count as 0",
        }[self.config.empty_masks]
        length = (
            "millimetres"
            if self.distance_unit == "mm"
            else "pixels of the network's image, because the spacing of some image is not known"
        )
        over = f"means over {len(self.outlined)} classes and " if self._dice_of else ""
        return [
            f"Figures are {over}over images; those of a {self.unit} count the pixels of all "
            "its images together.",
            "Where neither truth nor prediction outlines anything, Dice and IoU "
            f"{neither} (evaluate.empty_masks: {self.config.empty_masks}); where one of the "
            "two does, they are 0.",
            "Sensitivity is computed on images that show a lesion, precision on those in "
            "which one was called, and distances need both: other images are left out "
            "(`left_out`). Paired differences of distances are over images where both "
            "recipes have one; `lesion_dice` is over images that show a lesion, and "
            "`false_alarms` is the share of the others in which one was called.",
            f"Distances are in {length}.",
        ]

    def _parts(self, values: Floats) -> dict[str, Floats]:
        """Return each of ``MEASURED`` as ``(n, K)``."""
        return dict(zip(MEASURED, np.split(values, len(MEASURED), axis=1), strict=True))

    def _of_images(self, values: Floats) -> dict[str, Floats]:
        """Return every figure of every image and class ``(n, K)``, NaN where undefined."""
        parts = self._parts(values)
        found = overlaps(parts["tp"], parts["fp"], parts["fn"], self.config.empty_masks)
        return {**found, **{name: parts[name] for name in DISTANCES}}

    def _of_units(self, values: Floats, weights: Weights) -> dict[str, Floats]:
        """Return the same of units ``(U, K)``."""
        _, first, unit = np.unique(weights.test.unit, return_index=True, return_inverse=True)
        parts = self._parts(values)
        counts = []
        for name in ("tp", "fp", "fn"):
            total = np.zeros((len(first), len(self.outlined)))
            np.add.at(total, unit, parts[name])
            counts.append(total)
        found = overlaps(counts[0], counts[1], counts[2], self.config.empty_masks)
        found |= {name: parts[f"unit_{name}"][first] for name in DISTANCES}
        return {f"{self.unit}_{name}": each for name, each in found.items()}


def overlaps(tp: Floats, fp: Floats, fn: Floats, empty: EmptyMasks) -> dict[str, Floats]:
    """Return ``OVERLAPS`` from counts of pixels, of any one shape.

    Dice = 2 TP / (2 TP + FP + FN), IoU = TP / (TP + FP + FN), both by ``empty`` where nothing
    is outlined; sensitivity = TP / (TP + FN) and precision = TP / (TP + FP), NaN for 0 / 0.
    ``lesion_dice`` is Dice where there is something to outline, ``false_alarms`` 1 or 0 where
    there is nothing, NaN elsewhere.
    """
    neither = _NEITHER[empty]
    dice, shown = share(2 * tp, 2 * tp + fp + fn, neither), tp + fn > 0
    return {
        "dice": dice,
        "iou": share(tp, tp + fp + fn, neither),
        "sensitivity": share(tp, tp + fn),
        "precision": share(tp, tp + fp),
        "lesion_dice": np.where(shown, dice, np.nan),
        "false_alarms": np.where(shown, np.nan, (fp > 0).astype(np.float64)),
    }


def mean_defined(values: Floats, weights: Floats) -> Floats:
    """Average ``(r, K)`` over rows that are no NaN, by ``weights`` ``(r, D)``: ``(D, K)``."""
    defined = ~np.isnan(values)
    total = weights.T @ np.where(defined, values, 0.0)
    return share(total, weights.T @ defined.astype(np.float64))


def read(predictions: pd.DataFrame, config: EvaluateConfig, where: str) -> Lesion:
    """Return the measures of outlines."""
    names = [str(name) for name in predictions if str(name).startswith("tp_")]
    if not names:
        raise other_task(where, "lesion", "tp_")
    classes = tuple(name.removeprefix("tp_") for name in names)
    wanted = tuple(f"{kind}_{name}" for kind in MEASURED for name in classes)
    check_columns(predictions, (*SEGMENTATION, *wanted), where)
    test = predictions[(predictions["split"] == "test") & predictions["truth"].notna()]
    for column in ("unit_kind", "distance_unit"):
        if test[column].nunique() > 1:
            raise UserError(
                f"{where}: {column} is {' and '.join(sorted(set(test[column])))}; the "
                "replicates come from different stores: run finetune of all again"
            )
    if test.empty:
        raise nothing_to_score(where)
    return Lesion(
        outlined=classes,
        kinds=tuple(sorted(set(test["truth"]))),
        unit=str(test["unit_kind"].iloc[0]),
        distance_unit=str(test["distance_unit"].iloc[0]),
        config=config,
    )
