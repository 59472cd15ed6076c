"""From a fingerprint and a machine to the options of a source, each with its reason."""

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from maskwise.fingerprint.contracts import MOST_COLOURED, Fingerprint, Machine, Option, Proposal
from maskwise.preparation.intensity import DEFAULTS
from maskwise.scans.modality import our_word
from maskwise.wording import count

SIDES = (32, 64, 96, 128, 224)
"""Of the network's image, pixels: those that the shipped recipes were tried with."""
GRID = (16, 16)
"""Cells: it divides 32, 64, 96, 128 and 224."""
FEW = 500
"""Patients, or images of unknown ones, under which one test part is too small to judge by."""
FOLDS = 5
_ENLARGED = 1.5
"""Times that a scan may be enlarged: what it shows does not become more."""
_EPOCHS, _TUNING_EPOCHS = 70, 20
"""As the shipped studies of some 500 training images take."""
_LEAST_LABELS = 5
"""Of the rarest class, of the smallest fraction of the labels."""
_TRAINS = 0.7
"""Share of the images that train."""
_RECIPES = {
    "none": ["random_box", "dqn", "simclr"],
    "lesion": ["scratch", "basic_unet", "random_cells"],
}
"""Of a source without labels, and of one whose lesions are outlined."""


def propose(found: Fingerprint, machine: Machine, said: str | None = None) -> Proposal:
    """Return the blocks of a source; ``said`` is the modality that a person named."""
    task = _task(found)
    modality = _modality(found, said)
    side = _side(found, machine, task)
    share = 1 - 2 / FOLDS if _folds(found) else _TRAINS
    training = found.training or max(1, round(share * found.images))
    batch = _batch(training, machine, task)
    blocks = {
        "ingest": tuple(_ingest(found, modality)),
        "preprocess": tuple(_preprocess(found, machine, task, modality, side)),
        "pretrain": tuple(_pretrain(found, machine, side, training, batch)),
    }
    if task != "none":
        blocks["finetune"] = tuple(_finetune(found, task, training, batch))
    experiment, why = _experiment(found, task)
    return Proposal(blocks, experiment, why)


def _task(found: Fingerprint) -> str:
    """Return diagnosis, lesion or none."""
    if found.layout.label is not None and len(found.classes) > 1:
        return "diagnosis"
    return "lesion" if found.masked else "none"


def _modality(found: Fingerprint, said: str | None) -> Option:
    """Return preprocess's word, and the doubt where nobody and no file says it."""
    layout, files = found.layout, found.sample.modalities
    word = our_word(said or layout.listing.modality or layout.config.modality)
    if word in ("unknown", "") and len(files) == 1:
        word = next(iter(files))
    default = dict(DEFAULTS[word if word in DEFAULTS else "other"])["name"]
    sets = f"It sets the default of `intensity` ({default})"
    if word in DEFAULTS and word != "other":
        return Option("modality", word, f"{sets}.")
    doubt = "no file says what the scans are: ultrasound, mr, ct, xray, or other?"
    if word not in ("unknown", "", "other"):
        return Option(
            "modality", "other", f"{word}, for which nothing here is special. {sets}."
        )
    return Option("modality", "other", f"{sets}.", doubt)


def _ingest(found: Fingerprint, modality: Option) -> Iterator[Option]:
    named = {option.key for option in found.layout.options}
    yield Option("name", found.layout.source, "The source that reads it (docs/sources.md).")
    yield from found.layout.options
    open_ended = found.layout.source in ("image_folder", "table", "medmnist")
    if open_ended and "modality" not in named and not modality.doubt:
        yield Option("modality", modality.value, "Of every row of the manifest.")


def _preprocess(
    found: Fingerprint, machine: Machine, task: str, modality: Option, side: int
) -> Iterator[Option]:
    yield Option("height", side, _why_side(found, machine, task, side))
    yield Option("width", side, "Pixels, as the height.")
    yield _channels(found)
    yield modality
    intensity = _intensity(found, str(modality.value))
    if intensity is not None:
        yield intensity
    yield _laterality(found, str(modality.value))
    label = found.layout.label if task == "diagnosis" else None
    yield Option("label", label, "Splits are stratified by it." if label else "No labels.")
    yield _geometry(found, task, side)
    yield from _split(found, task)


def _side(found: Fingerprint, machine: Machine, task: str) -> int:
    """Return the side of the network's image: that of the scans, if the machine is up to it."""
    largest, most = _longer_side(found), _most(machine, task)
    if _in_millimetres(found) and largest <= most:
        return 16 * math.ceil(largest / 16)  # as they are, with a border
    return max(side for side in SIDES if side <= min(most, max(SIDES[0], _wanted(largest))))


def _wanted(largest: int) -> int:
    """Return the next side; where scans would be much enlarged to have it, their own."""
    above = [side for side in SIDES if largest <= side <= _ENLARGED * largest]
    return above[0] if above else largest


def _most(machine: Machine, task: str) -> int:
    """Return the largest side that trains in minutes, or on a GPU in an hour."""
    if machine.gpu:
        return 224 if machine.gpu >= 12 else 128
    return 96 if task == "lesion" else 64


def _longer_side(found: Fingerprint) -> int:
    sides = [max(size) for size in found.sample.sizes]
    return round(max(sides) if _in_millimetres(found) else median(sides))


def _in_millimetres(found: Fingerprint) -> bool:
    """Tell whether a pixel is as large in all of them, which padding keeps."""
    return bool(found.volumes) and len(found.sample.spacings) == 1


def _why_side(found: Fingerprint, machine: Machine, task: str, side: int) -> str:
    heights, widths = zip(*found.sample.sizes, strict=True)
    shown = f"{round(median(widths))} x {round(median(heights))}"
    same = len(set(found.sample.sizes)) == 1
    scans = f"Pixels; the {'scans have' if same else 'median scan has'} {shown}"
    if side >= _longer_side(found):
        return f"{scans}, of which nothing is lost."
    if side < _most(machine, task):
        return f"{scans}; the next size would enlarge it too much."
    more = ", enough for an outline" if task == "lesion" else ""
    return (
        f"{scans}. With {machine.words}, {side} trains in minutes{more}; twice that would take "
        "four times as long."
    )


def _channels(found: Fingerprint) -> Option:
    fixed = found.layout.preprocess.get("channels")
    if fixed is not None:
        return Option("channels", fixed, "As many as ingest reads.")
    share = found.sample.coloured
    if share > MOST_COLOURED:
        return Option("channels", 3, f"{share:.0%} of the images that were opened have colour.")
    marks = f"; {share:.0%} have colour, perhaps marks or text" if share else ""
    return Option("channels", 1, f"Grey{marks}.")


def _intensity(found: Fingerprint, modality: str) -> Option | None:
    """Return how values become intensities, where the modality's default would not do."""
    sample = found.sample
    if modality == "ct" and sample.lowest < -200:
        return Option(
            "intensity",
            {"name": "window", "low": -160, "high": 240},
            "Values are Hounsfield units; soft tissue: centre 40, width 400.",
            "is soft tissue what matters? Lung: low -1350, high 150; bone: -500, 1300",
        )
    whole = sample.kinds <= {"u"} and sample.bits in (1, 8)
    if whole or DEFAULTS[modality]["name"] != "range":
        return None
    return Option(
        "intensity",
        {"name": "percentile", "low": 0.5, "high": 99.5},
        f"Values go from {sample.lowest:g} to {sample.highest:g}, of which no type says the "
        "range: each image by its own.",
    )


def _laterality(found: Fingerprint, modality: str) -> Option:
    known = found.layout.preprocess.get("laterality")
    if known is not None:
        return Option("laterality", known, "As the shipped options of this set have it.")
    if modality == "ultrasound":
        return Option(
            "laterality", "free", "Left and right mean nothing here, so images are mirrored."
        )
    return Option(
        "laterality",
        "fixed",
        "No image is mirrored in training, which is never wrong.",
        "do left and right mean nothing (a patch, a breast)? Then free, which helps few images",
    )


def _geometry(found: Fingerprint, task: str, side: int) -> Option:
    sizes = set(found.sample.sizes)
    if _in_millimetres(found) and _longer_side(found) <= side:
        block = {"name": "pad", "fill": "black"}
        return Option(
            "geometry", block, "Pixels as they are: a millimetre stays one everywhere."
        )
    if len(sizes) == 1 and max(next(iter(sizes))) < side:
        block = {"name": "pad", "fill": "edge"}
        return Option(
            "geometry", block, "The border is repeated up to a size that halves well."
        )
    if len(sizes) == 1:
        square = len(set(next(iter(sizes)))) == 1
        block = {"name": "resize", "aspect": "stretch" if square else "keep"}
        return Option("geometry", block, "All scans have one size.")
    if task == "diagnosis":
        block = {"name": "resize", "aspect": "stretch"}
        return Option(
            "geometry", block, "Padding would show a scan's shape, which may hint at its class."
        )
    return Option("geometry", {"name": "resize", "aspect": "keep"}, "Shapes stay as they are.")


def _split(found: Fingerprint, task: str) -> Iterator[Option]:
    if found.official:
        yield Option(
            "split", "official", "There is one; corrected: groups that it divides stay whole."
        )
        return
    named = found.patients or found.sample.patients or found.layout.patients
    whole = (
        "images of one patient stay together"
        if named
        else "duplicates stay together; images of one patient may not, for none is named"
    )
    strata = ", and stratified by class" if task == "diagnosis" else ""
    why = f"There is no official split. One is made{strata}: {whole}."
    yield Option("split", "own", why)
    if task == "none":
        yield Option("validation_share", 0.1, "Watched, and not learnt from.")
        return
    patients = f" of {count(found.patients, 'patient')}" if found.patients else ""
    units = f"{count(found.images, 'image')}{patients}"
    if folds := _folds(found):
        why = (
            f"One test part of {units} would be too small: seed s tests on fold s mod {folds}."
        )
        yield Option("folds", folds, why)
    else:
        yield Option("validation_share", 0.15, "Of the images, whole groups at a time.")
        yield Option("test_share", 0.15, f"One part of {units} is enough to test on.")
    yield Option("split_seed", 0, "Which all seeds of the study share.")


def _folds(found: Fingerprint) -> int:
    """Return how many folds; 0 = one split. Each needs some of every class."""
    units = found.patients or found.images
    counts = [number for number in found.classes.values() if number]
    enough = min([units, *counts]) >= 2 * FOLDS
    return FOLDS if units < FEW and enough and not found.official else 0


def _pretrain(
    found: Fingerprint, machine: Machine, side: int, training: int, batch: int
) -> Iterator[Option]:
    yield Option(
        "grid", list(GRID), f"Cells of {side // GRID[0]} pixels, which are hidden or shown."
    )
    most = 20_000 if machine.gpu else 2_400
    steps = _steps(training, batch, _EPOCHS, 200, most)
    epochs = steps * batch / training
    why = f"About {epochs:.0f} times through some {training:,} training images"
    bound = f", at most {most:,} with {machine.words}" if steps == most else ""
    yield Option("steps", steps, f"{why}{bound}.")
    yield Option("batch_size", batch, f"Images per step, with {machine.words}.")


def _finetune(found: Fingerprint, task: str, training: int, batch: int) -> Iterator[Option]:
    if task == "diagnosis":
        block: dict[str, Any] = {"name": "diagnosis", "label": found.layout.label}
        masks = (
            f" {found.masked:,} files have masks: {{name: lesion}} outlines."
            if found.masked
            else ""
        )
        yield Option("task", block, f"One class per image.{masks}")
        steps = _steps(training, batch, _TUNING_EPOCHS, 60, 600)
        yield Option("steps", steps, "The same at every fraction of the labels.")
        yield Option("batch_size", batch, "Images.")
        return
    network = {"layout": "unet", "width": 16, "norm": "group"}
    yield Option(
        "task",
        {"name": "lesion", "decoder": "fresh", "network": network, "foreground": 0.4}
        | {"every": 25, "patience": 12},
        "No labels, but masks: lesions are outlined; it stops when validation no longer gains.",
    )
    half = max(4, batch // 2)
    steps = _steps(training, half, _TUNING_EPOCHS, 100, 600)
    yield Option("steps", steps, "The most that a network makes.")
    yield Option("batch_size", half, "Images; a U-Net takes more memory than an encoder.")
    yield Option("learning_rates", [0.003], "Of the shipped studies of outlines.")


def _batch(training: int, machine: Machine, task: str) -> int:
    """Return a power of two: 32, less for few images or little memory, more on a GPU."""
    del task
    most = 64 if machine.gpu >= 12 else 32 if machine.memory >= 4 else 16
    fitting = max(4, min(most, training // 4))
    return 1 << (fitting.bit_length() - 1)


def _steps(training: int, batch: int, epochs: int, least: int, most: int) -> int:
    """Return the steps of so many epochs, two digits long, within bounds."""
    steps = min(most, max(least, training * epochs / batch))
    unit = 10 ** max(1, math.floor(math.log10(steps)) - 1)
    return int(unit * round(steps / unit))


def _experiment(found: Fingerprint, task: str) -> tuple[Mapping[str, Any], str]:
    if task == "none":
        return (
            {"recipes": _RECIPES["none"], "fractions": []},
            "Without labels it ends with pre-training and a report.",
        )
    own: dict[str, Any] = {}
    why = []
    if task == "lesion":
        own["recipes"] = _RECIPES["lesion"]
        own["fractions"] = [1.0]
        why.append("Recipes for outlines.")
    if _folds(found):
        own["seeds"] = list(range(FOLDS))
        why.append(f"{FOLDS} folds, a seed each, so that every image is tested once.")
    rarest = min((number for number in found.classes.values() if number), default=0)
    if task == "diagnosis" and rarest and rarest * _TRAINS * 0.1 < _LEAST_LABELS:
        enough = rarest * _TRAINS * 0.25 >= _LEAST_LABELS
        own["fractions"] = [1.0, 0.25] if enough else [1.0]
        why.append(f"A tenth of the labels would leave fewer than {_LEAST_LABELS} of a class.")
    return own, " ".join(why)
