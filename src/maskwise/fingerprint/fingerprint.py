"""Layout and pictures together: how many images, volumes, patients, classes there are."""

from collections import Counter
from pathlib import Path

from maskwise.artefacts.labels import LABEL
from maskwise.fingerprint.contracts import Asked, Fingerprint, Layout, Sample
from maskwise.fingerprint.recognise import recognise
from maskwise.fingerprint.sample import look
from maskwise.scans.reasons import UNCOUNTED


def take_fingerprint(origin: Path, asked: Asked) -> Fingerprint:
    """Look at the scans at ``origin``: their layout, and some of them as pictures.

    Raises:
        UserError: as ``recognise`` does, or if none of the images that were tried can be read.
    """
    return describe(recognise(origin, asked))


def describe(layout: Layout) -> Fingerprint:
    """Count what the listing of ``layout`` holds, and look at a sample of its images."""
    sample, table = look(layout), layout.listing.images
    frames = layout.listing.frames
    images = sum(frames) if frames else round(len(table) * max(1.0, sample.images_per_row))
    official = bool(table["split"].notna().all()) and table["split"].nunique() > 1
    training = int((table["split"] == "train").sum()) if official else 0
    return Fingerprint(
        layout=layout,
        sample=sample,
        images=images,
        volumes=_volumes(layout, sample),
        masked=sum(bool(masks) for masks in table["masks"]),
        patients=int(table["patient"].nunique()),
        classes=_classes(layout),
        training=training,
        rejected=dict(
            Counter(
                reject.reason
                for reject in layout.listing.rejects
                if reject.reason not in UNCOUNTED
            ).most_common()
        ),
    )


def _volumes(layout: Layout, sample: Sample) -> int:
    table = layout.listing.images
    if "volume" in table:
        return int(table["volume"].nunique())
    return len(table) if sample.images_per_row > 1.5 else 0


def _classes(layout: Layout) -> dict[str, int]:
    """Return how many images each class has; 0 where only the masks will tell."""
    table, column = layout.listing.images, f"{LABEL}{layout.label}"
    if layout.label is None:
        return {}
    if column in table:
        counts = table[column].dropna().value_counts()
        return {str(name): int(number) for name, number in sorted(counts.items())}
    told = layout.listing.mask_label
    return {} if told is None else {told.absent: 0, told.present: 0}
