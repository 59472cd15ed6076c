"""All that a referee's page prints of one source, and the same figures as one table."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskwise.artefacts.store import Store
from maskwise.errors import UserError, hint, shown
from maskwise.evaluate.arrangement import Arrangement, Curve, arrange
from maskwise.evaluate.comparisons import COVERS
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.few_labels import with_labels
from maskwise.evaluate.figures import rounded
from maskwise.evaluate.notes import class_counts
from maskwise.evaluate.referee.benefit import net_benefit
from maskwise.evaluate.referee.calibration import calibration
from maskwise.evaluate.referee.chosen import Chosen, choose
from maskwise.evaluate.referee.columns import read_columns
from maskwise.evaluate.referee.config import Referee
from maskwise.evaluate.referee.errors import confident_errors, confusion
from maskwise.evaluate.referee.networks import Networks, ask
from maskwise.evaluate.referee.operating import Goal, operating_point, share_of
from maskwise.evaluate.referee.subgroups import Tested, subgroups
from maskwise.evaluate.resampling import Draws, draw
from maskwise.wording import count

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Images:
    """What is known of a source's images beside their predictions."""

    manifest: pd.DataFrame
    store: Store
    """Their outlines, for sizes of lesions."""


def referee(
    predictions: pd.DataFrame,
    subsets: pd.DataFrame,
    images: Images,
    config: EvaluateConfig,
    source: str,
    task: str,
) -> dict[str, Any]:
    """Return ``referee.json``.

    Which recipe it speaks of and every threshold were settled by options, by what was named
    beforehand, or by validation images; the test images are only measured on.

    Args:
        predictions: ``tables.PREDICTIONS`` of all replicates.
        subsets: ``tables.SUBSETS`` of all replicates: who has few labels has few to choose a
            threshold with.
        images: the source's, for subgroups and numbers of patients.
        config: the options.
        source: its name.
        task: what was learnt.

    Raises:
        UserError: where the options do not fit the source.
    """
    asked = config.referee.get(source, Referee())
    arrangement = arrange(predictions, task, config, f"the predictions of {source}")
    predictions = with_labels(predictions, subsets)
    chosen = choose(arrangement, predictions, config, source)
    repetitions = len(arrangement.repetitions)
    draws = draw(repetitions, arrangement.sizes, config.draws, config.seed)
    known = images.manifest.set_index("image_id")["patient"]
    tested = Tested(
        arrangement, chosen.curve, draws, config.weigh, known.to_dict(), asked.smallest
    )
    columns = read_columns(asked, images.manifest, images.store, source)
    log.info(
        "%s: a referee's figures of %s, %s, %s",
        source,
        chosen.curve[0],
        count(len(arrangement.images()), "test image"),
        count(len(columns), "column of subgroups", "columns of subgroups"),
    )
    return {
        "source": source,
        "task": task,
        **_of(chosen, arrangement),
        "covers": COVERS[draws.tells_training],
        "draws": config.draws,
        "weigh": config.weigh,
        "bins": asked.bins,
        "benefit": list(asked.benefit),
        "smallest": asked.smallest,
        **_counts(arrangement, tested),
        **_chances(arrangement, predictions, chosen.curve, draws, config, source),
        "subgroups": [subgroups(tested, column) for column in columns],
        "errors": _errors(arrangement, chosen.curve, asked.errors),
    }


def _of(chosen: Chosen, arrangement: Arrangement) -> dict[str, Any]:
    recipe, mode, fraction = chosen.curve
    return {
        "recipe": recipe,
        "mode": mode,
        "fraction": float(fraction),
        "chosen": {
            "rule": chosen.rule,
            "metric": arrangement.measures.leading,
            "value": rounded(chosen.value),
            "of": chosen.of,
            "options": list(chosen.options),
        },
    }


def _counts(arrangement: Arrangement, tested: Tested) -> dict[str, Any]:
    images = arrangement.images()
    patients = images["image_id"].map(tested.patients)
    return {
        "n_images": len(images),
        "n_groups": arrangement.n_groups,
        "n_patients": None if patients.isna().any() else int(patients.nunique()),
        "n_networks": sum(map(len, arrangement.repetitions)),
        "n_folds": len(arrangement.repetitions) if arrangement.folds else 0,
    }


def _chances(
    arrangement: Arrangement,
    predictions: pd.DataFrame,
    curve: Curve,
    draws: Draws,
    config: EvaluateConfig,
    source: str,
) -> dict[str, Any]:
    """Return what rests on stated probabilities; an outline has none."""
    asked, measures = config.referee.get(source, Referee()), arrangement.measures
    _check_prevalence(asked, measures.classes, source)
    if measures.task == "lesion":
        return {"classes": {}, "unmeasured": [], "confusion": {}}
    counts, classes, unmeasured = class_counts(arrangement), dict[str, Any](), list[str]()
    for name in getattr(measures, "scored", measures.classes):
        networks = ask(arrangement, predictions, curve, name, draws, config.weigh)
        if all(one.test.both for one in networks.each()):
            classes[name] = {**counts[name], **_of_class(networks, name, asked, config)}
        else:
            unmeasured.append(name)
    return {
        "classes": classes,
        "unmeasured": unmeasured,
        "confusion": confusion(arrangement, curve),
    }


def _of_class(
    networks: Networks, name: str, asked: Referee, config: EvaluateConfig
) -> dict[str, Any]:
    prevalence = asked.prevalence.get(name)
    goals = [Goal("specificity", target) for target in asked.specificity]
    goals += [Goal("sensitivity", target) for target in asked.sensitivity]
    return {
        # The fewest that some network's thresholds rest on.
        "validation": {
            "shows": min(int(one.validation.shows.sum()) for one in networks.each()),
            "others": min(int((~one.validation.shows).sum()) for one in networks.each()),
        },
        "prevalence": prevalence,
        "auroc": share_of(networks.auroc(), networks.draws, min(networks.apart)),
        "operating_points": [operating_point(networks, goal, prevalence) for goal in goals],
        "calibration": calibration(networks, asked.bins, config.seed),
        "net_benefit": net_benefit(networks, asked.benefit),
    }


def _check_prevalence(asked: Referee, classes: Sequence[str], source: str) -> None:
    for name in asked.prevalence:
        if name not in classes:
            raise UserError(
                f"evaluate.referee.{source}.prevalence: there is no class {shown(name)}; "
                f"{hint(name, classes)}"
            )


def _errors(arrangement: Arrangement, curve: Curve, most: int) -> list[dict[str, Any]]:
    """Return errors of answers; outlines that disagree are drawn in the report."""
    if arrangement.measures.task == "lesion":
        return []
    return confident_errors(arrangement, curve, most)
