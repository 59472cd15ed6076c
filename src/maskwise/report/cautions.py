"""What to distrust: rules over the facts, the gravest first."""

from collections.abc import Callable, Iterator

from maskwise.artefacts.splits import count_folds
from maskwise.report.facts import Facts
from maskwise.report.formatting import interval, labels, listing, number, share
from maskwise.report.label_cautions import not_scored, thresholds_by_default
from maskwise.report.outlines import EMPTY_MASKS, count_lesions
from maskwise.report.pretraining_cautions import SHARED, Caution, ceilings, gravest_first
from maskwise.report.verdict import judge, leading
from maskwise.weights_origin import PACKAGE
from maskwise.wording import count

FEW_GROUPS = 30
FEW_SEEDS = 10
FEW_VALIDATION = 10
GIVEN_AWAY = 0.6
NEAR = 0.05
"""Of AUROC: how far facts that know nothing of anatomy may stay behind and still be near."""
GUESSING = 0.5
"""AUROC of what knows nothing."""
MANY_EMPTY = 0.2
_OWN = "/checkpoints/"
"""In the path of an encoder from the middle of a run, which is held against the same split."""


def cautions(facts: Facts) -> list[Caution]:
    """Return all reasons for doubt, the gravest first; there are always at least three."""
    return gravest_first(caution for rule in RULES for caution in rule(facts))


def alarms(facts: Facts) -> list[str]:
    """Return what must stand in red above everything."""
    return _test_images_used(facts) + ceilings(facts)


def _test_images_used(facts: Facts) -> list[str]:
    if not facts.transductive:
        return []
    recipes = listing(facts.title(name) for name in facts.transductive)
    return [
        "Transductive: the test images, without labels, took part in the pre-training of "
        f"{recipes}. Their scores say nothing certain about images the network has never seen."
    ]


def _transductive(facts: Facts) -> Iterator[Caution]:
    for text in _test_images_used(facts):
        yield Caution(100, "The test images were used", text)


def _leak(facts: Facts) -> Iterator[Caution]:
    leak = facts.data.leak
    if leak is None:
        return
    official = facts.inputs.manifest[["image_id", "split"]].merge(
        facts.inputs.splits[["image_id", "split"]], on="image_id", suffixes=("", "_used")
    )
    moved = int(
        (official["split"].notna() & (official["split"] != official["split_used"])).sum()
    )
    told = (
        f"It was corrected here: {count(moved, 'image')} were moved to another part than the "
        "official one."
        if moved
        else "It was kept: scores may be too good, because copies of test images were used in "
        "training."
    )
    yield Caution(
        30 if moved else 95,
        "The official split leaks",
        f"{count(leak.groups, 'group')} ({count(leak.images, 'image')}) lie in several of its "
        f"parts. {told}",
    )


def _file_facts(facts: Facts) -> Iterator[Caution]:
    header, everything = facts.data.header_audit, facts.data.audit
    if header is not None and header.predicts:
        yield Caution(
            90 if header.low > GIVEN_AWAY else 56,
            "Files give the label away",
            "Format, colour mode and size in pixels alone predict it with an AUROC of "
            f"{number(header.auroc)} {interval(header.low, header.high)} (0.5 = not at all). A "
            "network may have learnt how a class was stored rather than how it looks.",
        )
    elif everything is not None and everything.predicts:
        yield Caution(
            42,
            "File sizes go with the label",
            "With their bytes, facts of the files predict it with an AUROC of "
            f"{number(everything.auroc)} {interval(everything.low, everything.high)} (0.5 = "
            "not at all). The size of a compressed file depends on what is shown, so this may "
            "be the picture itself; it may also be how a class was stored.",
        )


def _pixel_facts(facts: Facts) -> Iterator[Caution]:
    """Say where facts that know nothing of anatomy come near the best network."""
    audit = facts.data.pixel_audit
    # Of several labels the audit asks for their combination, which is another question.
    asked = facts.metric == "macro_auroc" and facts.task == "diagnosis"
    if audit is None or not audit.predicts or not asked:
        return
    name, best = _best(facts)
    near = audit.auroc > best - NEAR
    if not near and audit.low <= GIVEN_AWAY:
        return
    reaches = "which is near what" if near else "of which a part may stand in what"
    yield Caution(
        89 if near else 53,
        "Border and brightness give the label away",
        "Ten figures of the stored images (border lines, margins, brightness, sharpness) "
        f"predict it with an AUROC of {number(audit.auroc)} {interval(audit.low, audit.high)} "
        f"on validation images, {reaches} the best recipe reached on the test images with all "
        f"labels, {facts.title(name)}: {number(best)}. A network need not have looked at "
        "anatomy to get there.",
    )


def _best(facts: Facts) -> tuple[str, float]:
    """Return the recipe with the best score with all labels, whatever the mode, and that."""
    rows = facts.scores.query("metric == @facts.metric")
    most = rows[rows["fraction"] == rows["fraction"].max()]
    best = most.loc[most["value"].idxmax()]
    return str(best["recipe"]), float(best["value"])


def _slice_numbers(facts: Facts) -> Iterator[Caution]:
    for label, audit in facts.data.slice_audits.items():
        if audit.low > GIVEN_AWAY:
            yield Caution(
                54,
                f"The place of a slice predicts {label}",
                "A model that sees no picture reaches an AUROC of "
                f"{number(audit.auroc)} {interval(audit.low, audit.high)} by the slice's place "
                "in its volume. A network has to do better than that.",
            )


def _few_groups(facts: Facts) -> Iterator[Caution]:
    groups = facts.tested()["groups"]
    few = groups[groups < FEW_GROUPS]
    if len(few):
        named = listing(f"{name} {n}" for name, n in few.items())
        noun = "label" if facts.task == "multilabel" else "class"
        yield Caution(
            85,
            f"Few test groups in a {noun}",
            f"Independent groups in the test set: {named}; below {FEW_GROUPS} a 95 % interval "
            "is rough and usually too narrow. It can show a large difference, not rule out a "
            "small one.",
        )


def _stuck(facts: Facts) -> Iterator[Caution]:
    """Say where networks gave nearly all images one answer: a difference means nothing."""
    rows = facts.asked()
    names = list(dict.fromkeys([*rows["recipe"], *rows["against"]])) if len(rows) else []
    every = {name: facts.stuck(name, facts.mode, facts.fraction) for name in names}
    found = {name: entry for name, entry in every.items() if entry}
    if found:
        name, entry = max(found.items(), key=lambda each: each[1]["networks"])
        others = len(found) - 1
        more = f", and the same holds for {count(others, 'other recipe')}" if others else ""
        silent = "nothing" in entry["what"]
        yield Caution(
            97,
            "Nothing was outlined" if silent else "Nearly all images got one answer",
            f"{facts.title(name)}: {entry['what']}, or the like, by {entry['networks']} of "
            f"{count(entry['of'], 'network')}{more}. That their difference is about 0 does not "
            "show that two such recipes are equally good.",
        )


def _validated(facts: Facts) -> Iterator[Caution]:
    """Say where calibration and learning rates hang on very few images."""
    chosen = facts.inputs.scores["validation"].get(str(facts.fraction))
    if chosen is None:
        return
    images = f"With {labels(facts.fraction)}, {count(chosen['n_images'], 'validation image')}"
    if chosen["n_classes"] is not None and chosen["n_classes"] < 2:
        told = (
            "of one class are all that some seed had. They cannot say how sure a network may "
            "be, nor which of several learning rates is best."
        )
        yield Caution(84, "Validated on one class alone", f"{images} {told}")
    elif chosen["n_images"] < FEW_VALIDATION:
        told = "calibrated some seed's probabilities, and chose its rate if several were tried."
        yield Caution(84, "Calibrated on very few images", f"{images} {told}")


def _seeds(facts: Facts) -> Iterator[Caution]:
    times = facts.repetitions
    unit = "fold" if facts.folds else "seed"
    if not facts.tells_training:
        yield Caution(
            83,
            f"One {unit}" if times == 1 else f"Only {count(times, unit)}",
            f"Everything was trained {'once' if times == 1 else 'twice'}. The intervals cover "
            "only the choice of test images; how much another training would differ cannot be "
            "told from fewer than 3, so every answer here is “perhaps” at most.",
        )
    elif times < FEW_SEEDS:
        yield Caution(
            60,
            f"Only {count(times, unit)}",
            f"What another training would give is estimated from {times} repetitions, by "
            f"Student's distribution: the intervals are wide, and more {unit}s may show what "
            "these cannot.",
        )


def _guessing(facts: Facts) -> Iterator[Caution]:
    """Say where even the best recipe may be no better than guessing."""
    if facts.metric != "macro_auroc":
        return
    rows = facts.scores.query(
        "metric == @facts.metric and mode == @facts.mode and fraction == @facts.fraction"
    )
    best = rows.loc[rows["value"].idxmax()]
    if best["low"] <= GUESSING:
        yield Caution(
            86,
            "Perhaps no better than guessing",
            f"Guessing gives {facts.metric_name} of 0.5. The best recipe with "
            f"{labels(facts.fraction)}, {facts.title(best['recipe'])}, reached "
            f"{number(best['value'])} {interval(best['low'], best['high'])}.",
        )


def _not_asked(facts: Facts) -> Iterator[Caution]:
    rows = facts.asked()
    if facts.written or rows.empty:
        return
    yield Caution(
        78,
        "Nothing was named beforehand",
        "Which comparison matters was not written down before the test images were read "
        "(`evaluate.primary`), so every difference here is exploration and none has a p.",
    )
    if len(rows) > 1:
        yield Caution(
            50,
            "The first was picked afterwards",
            f"The recipe named first, of {len(rows)}, was chosen by the test scores "
            "themselves, so its difference is more likely too large than too small.",
        )


def _uncertain(facts: Facts) -> Iterator[Caution]:
    rows = facts.asked()
    if rows.empty:
        return
    row = leading(rows)
    verdict = judge(row)
    if verdict == "unclear":
        yield Caution(
            58,
            "The difference may be nothing",
            f"The interval of {facts.title(row['recipe'])}'s difference from "
            f"{facts.title(row['against'])} includes 0. That is not proof of equality: a "
            "larger test set or more seeds may still show a difference.",
        )
    if verdict in ("perhaps", "perhaps_harms") and facts.comparisons:
        yield Caution(
            59,
            "Not sure after correction",
            "The difference's own interval excludes 0, but several comparisons were made and "
            "one of them would look like this by chance too often.",
        )


def _pixels(facts: Facts) -> Iterator[Caution]:
    if "probe" not in facts.modes or "pixels" not in facts.styles:
        return
    pixels = facts.value("pixels", "probe", facts.fraction)
    probes = {
        name: facts.value(name, "probe", facts.fraction)
        for name in facts.styles
        if facts.is_pretrained(name)
    }
    behind = [name for name, value in probes.items() if value <= pixels]
    if behind:
        yield Caution(
            70,
            "Raw pixels do as well",
            f"{facts.words.pixels} {facts.title('pixels')} ({number(pixels)}, "
            f"{share(facts.fraction)} of the labels) is not beaten by the frozen features of "
            f"{listing(facts.title(name) for name in behind)}.",
        )


def _contradictions(facts: Facts) -> Iterator[Caution]:
    labels, masks = facts.data.labels.number, facts.data.masks.number
    parts = []
    if labels:
        parts.append(f"{count(labels, 'set')} of duplicates with more than one label")
    if masks:
        parts.append(f"{count(masks, 'pair')} of duplicates whose lesion outlines disagree")
    if parts:
        yield Caution(
            75 if labels or facts.task == "lesion" else 40,
            "The data contradict themselves",
            f"There are {listing(parts)}, named below. No method can be right about these.",
        )


def _folds(facts: Facts) -> Iterator[Caution]:
    if count_folds(facts.inputs.splits):
        yield Caution(
            58,
            "Seeds and folds go together",
            "Each seed held out another part of the data, so the spread over seeds is also a "
            "spread over test sets; the two cannot be told apart.",
        )


def _validation(facts: Facts) -> Iterator[Caution]:
    subsets = facts.inputs.subsets
    validation = subsets[subsets["role"] == "validation"]
    sizes = validation.groupby("fraction")["image_id"].nunique()
    if len(sizes) > 1 and sizes.nunique() == 1:
        yield Caution(
            62,
            "More labels than stated",
            "All validation labels were used for choosing at every fraction, as in the "
            "published protocol: somebody with few labels would not have them.",
        )


def _empty(facts: Facts) -> Iterator[Caution]:
    if facts.task != "lesion":
        return
    test = facts.test_predictions().drop_duplicates("image_id")
    empty = int((count_lesions(test) == 0).sum())
    if empty:
        counted = EMPTY_MASKS[facts.inputs.scores["empty_masks"]]
        yield Caution(
            54 if empty > MANY_EMPTY * len(test) else 20,
            "Images without a lesion count",
            f"{empty:,} of {len(test):,} test images show none. There {counted} where nothing "
            "is called, and 0 where anything is, however small; “Dice where there is a lesion” "
            "leaves them out.",
        )


def _elsewhere(facts: Facts) -> Iterator[Caution]:
    for name in facts.styles:
        file = facts.weights(name)
        # A package's weights are of photographs.
        if file and file != PACKAGE and _OWN not in file:
            begins = (
                "begins with weights from elsewhere: its encoder comes from"
                if facts.trains(name)
                else "was not pre-trained here: its encoder comes from"
            )
            yield Caution(
                64,
                "Weights from elsewhere",
                f"{facts.title(name)} {begins} `{file}`. If that was trained on images of the "
                "same patients, it may have seen the test images.",
            )


def _benefit(facts: Facts) -> Iterator[Caution]:
    yield Caution(
        6,
        "A score is not a benefit",
        f"A better {facts.metric_name} has not been shown to change what happens to a patient.",
    )


RULES: tuple[Callable[[Facts], Iterator[Caution]], ...] = (
    *SHARED,
    _transductive,
    _stuck,
    _guessing,
    _leak,
    _file_facts,
    _pixel_facts,
    _slice_numbers,
    _few_groups,
    not_scored,
    thresholds_by_default,
    _seeds,
    _uncertain,
    _not_asked,
    _pixels,
    _contradictions,
    _folds,
    _validation,
    _validated,
    _empty,
    _elsewhere,
    _benefit,
)
