"""What these pages say to the items of the checklists, and where.

Each answer looks at what there is: one that would speak of what was not done is None, and the
item is then said to be missing.
"""

from collections.abc import Callable, Mapping

from maskwise import __version__
from maskwise.artefacts.splits import count_folds
from maskwise.report.formatting import listing
from maskwise.report.referee.answer import (
    BENEFIT,
    CALIBRATION,
    CLASSES,
    DATA,
    ERRORS,
    MAKING,
    METHODS,
    NUMBERS,
    OPERATING,
    RUN,
    SUBGROUPS,
    Answer,
    report,
)
from maskwise.report.referee.known import Known
from maskwise.wording import count


def _primary(known: Known) -> Answer | None:
    primary = known.facts.inputs.scores.get("primary")
    if not primary:
        return None
    pairs = listing(
        f"{known.facts.title(one)} against {known.facts.title(other)}"
        for one, other in primary["comparisons"]
    )
    return Answer(
        f"What was asked was written down on {primary['written']}: {pairs}, by "
        f"{known.facts.in_print(primary['metric'])}.",
        (METHODS,),
    )


def _data(known: Known) -> Answer:
    data = known.facts.data
    patients = (
        "patients not named" if data.patients is None else count(data.patients, "patient")
    )
    return Answer(
        f"Source {known.source}: {count(data.images, 'image')} in "
        f"{count(data.groups, 'group')} ({patients}).",
        (DATA,),
    )


def _rejects(known: Known) -> Answer:
    rejected = known.facts.data.rejected
    told = (
        f"{count(rejected, 'image')} could not be used; rejects.csv has each with its reason."
        if rejected
        else "All images could be used."
    )
    return Answer(
        f"{told} Images without a label take no part in fine-tuning and scores.",
        (DATA,),
    )


def _preprocessing(known: Known) -> Answer:
    block = known.facts.inputs.settings["preprocess"]
    by = "by the mean and deviation of training images"
    if known.facts.weights(known.document["recipe"]):
        by = f"as the weights from elsewhere expect it; where that is not known, {by}"
    return Answer(
        f"Every image was brought to {block.get('height')} x {block.get('width')} pixels and "
        f"normalised {by}. The settings are listed. The same is done to every group of "
        "patients.",
        (RUN,),
    )


def _subsets(known: Known) -> Answer:
    return Answer(
        "Smaller shares of the labels are drawn by patient and stratified by class; all "
        "recipes of a seed learn from the same.",
        (NUMBERS,),
    )


def _identities(known: Known) -> Answer:
    printed = "no name of a file or a patient is on these pages"
    if known.facts.config.names:
        printed = "the report prints names of files (`report.names`)"
    text = "Ids of patients in DICOM files are kept as keyed hashes, ids in a table as they are"
    return Answer(f"{text}; {printed}.", (DATA,))


def _classes(known: Known) -> Answer | None:
    if known.outlines:
        return Answer(
            "The true outlines of the source; nothing here says who drew them.", (DATA,)
        )
    counted = listing(
        f"{name} {each['n_images']} ({each['n_groups']})"
        for name, each in known.document["classes"].items()
    )
    label = known.facts.label or "the source's label"
    text = f"The label {label}; test images (groups) of each class: {counted}."
    return Answer(text, (CLASSES,))


def _duplicates(known: Known) -> Answer | None:
    data = known.facts.data
    if not data.duplicate_sets:
        return None
    return Answer(
        f"Copies of one picture that were labelled differently: {data.labels.number} of "
        f"{count(data.duplicate_sets, 'set')}. That is a floor of the annotators' "
        "disagreement, and no measure of it.",
        (DATA,),
    )


def _partitions(known: Known) -> Answer:
    splits = known.facts.inputs.splits
    folds = count_folds(splits)
    if folds:
        return Answer(f"{folds} folds, each of which is tested once.", (DATA,))
    counted = splits.groupby("split")["group"].agg(["size", "nunique"])
    told = listing(
        f"{name} {counted.loc[name, 'size']:,} ({counted.loc[name, 'nunique']:,} groups)"
        for name in ("train", "validation", "test")
        if name in counted.index
    )
    return Answer(f"Images: {told}.", (DATA,))


def _disjoint(known: Known) -> Answer:
    leak = known.facts.data.leak
    text = (
        "By group: images of one patient, and copies of one picture as far as they were "
        "recognised, lie in one part."
        if known.patients_named
        else "By group: copies of one picture, as far as they were recognised, lie in one part."
    )
    if leak is not None and leak.groups:
        text = (
            f"The official split divides {count(leak.groups, 'group')} between its parts; the "
            "leak audit names them."
        )
    return Answer(text, (DATA,), " ".join(known.shared()))


def _numbers(known: Known) -> Answer:
    return Answer(f"{known.tested[0].upper()}{known.tested[1:]}.", (NUMBERS, DATA))


def _model(known: Known) -> Answer:
    encoder = known.facts.inputs.recipes[known.document["recipe"]]["encoder"]["name"]
    return Answer(f"{known.recipe}: encoder {encoder}, {known.trained}.", (RUN,))


def _software(known: Known) -> Answer:
    return Answer(
        f"Maskwise {__version__}; run.json beside each result has the versions of all "
        "libraries, the commit and the machine.",
        (MAKING,),
    )


def _initialisation(known: Known) -> Answer:
    begun = known.facts.weights(known.document["recipe"])
    if begun:
        return Answer(
            f"With weights from elsewhere ({begun}); the report says which, and under which "
            "licence.",
            (RUN,),
        )
    return Answer("Weights were drawn at random, by the seed.", (RUN,))


def _training(known: Known) -> Answer:
    return Answer(
        "Objective, policy, optimisation and steps of each recipe, and its curves.",
        (RUN, report("training", "Training curves")),
    )


def _selection(known: Known) -> Answer:
    return Answer(
        "Learning rates and epochs were chosen on validation images, thresholds too; the "
        f"recipe of this page as its first lines say. {known.untouched}",
        (RUN, OPERATING) if not known.outlines else (RUN,),
    )


def _ensembles(known: Known) -> Answer:
    if known.document["n_networks"] == 1:
        return Answer("None: there is one network.")
    each = f"None: each figure is the mean over {known.networks}, each measured by itself."
    if known.outlines:
        return Answer(each)
    return Answer(f"{each} The most confident errors alone are of mean probabilities.")


def _metrics(known: Known) -> Answer:
    leading = known.facts.in_print(known.facts.leading)
    words = report("glossary", "Words used here")
    return Answer(f"Leading: {leading}; each measure is explained.", (METHODS, words))


def _uncertainty(known: Known) -> Answer:
    return Answer(
        f"95 % intervals of {known.document['draws']:,} draws of whole patients or groups; "
        f"they cover {known.document['covers']}. Comparisons that were named beforehand have a "
        "p, after Holm.",
        (METHODS,),
    )


def _subgroups(known: Known) -> Answer | None:
    columns = known.document["subgroups"]
    if not columns:
        return None
    return Answer(f"By {listing(one['title'] for one in columns)}.", (SUBGROUPS,))


def _errors(known: Known) -> Answer | None:
    if known.outlines:
        return Answer("Outlines that disagree most.", (report("outlines", "Outlines"),))
    if not known.document["errors"]:
        return None
    return Answer("The errors that the networks were most sure of.", (ERRORS,))


def _confusion(known: Known) -> Answer | None:
    return None if known.outlines else Answer("What was called what.", (CLASSES,))


def _internal(known: Known) -> Answer:
    return Answer(
        "All test images are of the same source as those that trained; so this is an internal "
        "test.",
        (DATA,),
    )


def _performance(known: Known) -> Answer:
    return Answer("All measures of all recipes with intervals.", (METHODS,))


def _operating(known: Known) -> Answer | None:
    if known.outlines:
        return None
    return Answer(
        "Sensitivity and specificity at thresholds that validation images chose.",
        (OPERATING,),
    )


def _calibration(known: Known) -> Answer | None:
    return None if known.outlines else Answer("Reliability diagrams.", (CALIBRATION,))


def _benefit(known: Known) -> Answer | None:
    return None if known.outlines else Answer("Decision curves.", (BENEFIT,))


def _cautions(known: Known) -> Answer:
    text = "What these figures cannot show is said under “What to distrust” and “Warnings”."
    return Answer(text, (report("warnings", "Warnings"),))


def _methods(known: Known) -> Answer:
    return Answer(
        "Methods, formulas and departures from their papers stand in docs/methods of Maskwise.",
        (RUN,),
    )


def _licence(known: Known) -> Answer:
    return Answer(
        f"Maskwise {__version__} is free software (Apache-2.0), and the commands that make "
        "these pages are listed.",
        (MAKING,),
    )


def _predictors(known: Known) -> Answer:
    return Answer(
        "The pixels of one image, nothing else: unstructured input. What files and pixels give "
        "away beside the picture was audited.",
        (DATA,),
    )


def _recalibration(known: Known) -> Answer | None:
    if known.outlines:
        return None
    return Answer(f"Not updated after evaluation. {known.scale}", (CALIBRATION,))


def _output(known: Known) -> Answer:
    if known.outlines:
        return Answer("For each pixel whether it belongs to a lesion, slice by slice.", (RUN,))
    kind = "of each label by itself" if known.several else "of each class, which add to 1"
    return Answer(f"A probability {kind}, of one image.", (OPERATING,))


def _imbalance(known: Known) -> Answer | None:
    if known.outlines:
        return None
    task = known.facts.inputs.settings["finetune"].get("task") or {}
    weights = task.get("class_weights", "balanced" if known.several else "none")
    told = "were not weighed" if weights == "none" else "were weighed by how rare they are"
    return Answer(
        f"In training classes {told}; macro figures count each class once.",
        (RUN, NUMBERS),
    )


def _baseline(known: Known) -> Answer | None:
    reference = known.facts.reference
    if not reference or reference == known.document["recipe"]:
        return None
    return Answer(f"Recipes are compared with {known.facts.title(reference)}.", (METHODS,))


def _significance(known: Known) -> Answer | None:
    if not known.has_a_p:
        return None
    return Answer(
        "What was named beforehand of this recipe has a p, corrected after Holm.", (METHODS,)
    )


def _specification(known: Known) -> Answer:
    text = "The fine-tuned networks are files that `maskwise.load_model` opens."
    return Answer(text, (RUN,))


def _refusals(known: Known) -> Answer:
    return Answer(
        "A file that cannot be read is refused with its reason when it is predicted; whether "
        "a picture is fit for a diagnosis is not judged.",
    )


ANSWERS: Mapping[str, Callable[[Known], Answer | None]] = {
    "baseline": _baseline,
    "benefit": _benefit,
    "calibration": _calibration,
    "cautions": _cautions,
    "classes": _classes,
    "confusion": _confusion,
    "data": _data,
    "disjoint": _disjoint,
    "duplicates": _duplicates,
    "ensembles": _ensembles,
    "errors": _errors,
    "identities": _identities,
    "imbalance": _imbalance,
    "initialisation": _initialisation,
    "internal": _internal,
    "licence": _licence,
    "methods": _methods,
    "metrics": _metrics,
    "model": _model,
    "numbers": _numbers,
    "operating": _operating,
    "output": _output,
    "partitions": _partitions,
    "performance": _performance,
    "predictors": _predictors,
    "preprocessing": _preprocessing,
    "primary": _primary,
    "recalibration": _recalibration,
    "refusals": _refusals,
    "rejects": _rejects,
    "selection": _selection,
    "significance": _significance,
    "software": _software,
    "specification": _specification,
    "subgroups": _subgroups,
    "subsets": _subsets,
    "training": _training,
    "uncertainty": _uncertainty,
}
"""By the names that items give."""
