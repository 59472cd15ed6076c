"""What was found, in lines for a person."""

from statistics import median

from maskwise.errors import listed
from maskwise.fingerprint.contracts import MOST_COLOURED, Fingerprint
from maskwise.wording import count

TOO_MANY = 0.05
"""Share of rejected files at which ingest stops, unless its option says otherwise."""


def lines(found: Fingerprint) -> list[tuple[str, str]]:
    """Return what there is: heading and text, one line each."""
    return [
        ("layout", found.layout.words),
        ("images", _images(found)),
        ("pixels", _pixels(found)),
        ("labels", _labels(found)),
        ("patients", _patients(found)),
    ]


def remarks(found: Fingerprint) -> list[str]:
    """Return sentences about what no option of the file says."""
    said = list(found.layout.remarks)
    if found.rejected:
        named = listed(f"{number:,} {reason}" for reason, number in found.rejected.items())
        number = sum(found.rejected.values())
        taken = len(found.layout.listing.images)
        stops = number / (number + taken) > TOO_MANY
        end = (
            "; ingest stops at more than its max_reject_share, so mend the files first"
            if stops
            else ""
        )
        said.append(f"{count(number, 'file')} cannot be taken ({named}){end}.")
    sample = found.sample
    if sample.refused:
        said.append(
            f"{len(sample.refused)} of {count(sample.asked, 'file')} that were opened cannot "
            f"be read, one for this reason: {sample.refused[0]}; ingest names them all."
        )
    if needs_grey(found):
        said.append(
            f"{sample.unequal:.0%} of the images have channels that differ, by marks or noise; "
            "the network sees their luminance, and predict takes such scans with colour=grey."
        )
    if len(sample.modalities) > 1:
        named = listed(sorted(sample.modalities))
        said.append(f"The files say that they are of several modalities: {named}.")
    if found.images != len(found.layout.listing.images) and not found.layout.listing.frames:
        said.append(
            "How many images there are was estimated from the volumes that were opened."
        )
    return said


def needs_grey(found: Fingerprint) -> bool:
    """Tell whether the network sees one channel of scans that have several."""
    one = found.sample.coloured <= MOST_COLOURED and "channels" not in found.layout.preprocess
    return one and found.sample.unequal > 0


def _images(found: Fingerprint) -> str:
    volumes = f" of {count(found.volumes, 'volume')}" if found.volumes else ""
    masked = f", {count(found.masked, 'file')} with a mask" if found.masked else ""
    return f"{count(found.images, 'slice' if found.volumes else 'image')}{volumes}{masked}"


def _pixels(found: Fingerprint) -> str:
    sample = found.sample
    heights, widths = zip(*sample.sizes, strict=True)
    size = f"{round(median(widths))} x {round(median(heights))}"
    if len(set(sample.sizes)) > 1:
        size += f" the median ({min(widths)} to {max(widths)} wide, "
        size += f"{min(heights)} to {max(heights)} high)"
    spacing = listed((f"{each:g}" for each in sorted(sample.spacings)), 3)
    apart = f", {spacing} mm" if spacing else ""
    kinds = listed(sample.formats)
    said = listed(sorted(sample.modalities))
    modality = f", {said} by their headers" if said else ""
    return f"{size}, {sample.bits} bits, {kinds}{apart}{modality} (of {sample.read} opened)"


def _labels(found: Fingerprint) -> str:
    if not found.classes:
        outlined = listed(found.layout.listing.mask_classes)
        return f"none; outlines of {outlined}" if outlined else "none"
    if not any(found.classes.values()):
        return f"{listed(found.classes)}, by their masks"
    return listed((f"{name} {number:,}" for name, number in found.classes.items()), 12)


def _patients(found: Fingerprint) -> str:
    number = found.patients or found.sample.patients
    if not number:
        return found.layout.patients or "no patient is named"
    seen = "" if found.patients else f" among the {found.sample.read} opened"
    where = f" ({found.layout.patients})" if found.layout.patients else ""
    return f"{number:,}{seen}{where}"
