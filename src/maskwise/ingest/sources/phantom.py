"""Ultrasound-like images with known lesions, written as real files and read back like any."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from maskwise.bounds import LARGEST, Seed, Within
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance
from maskwise.ingest.sources.phantom_scene import (
    CLASSES,
    Patient,
    draw_patient,
    draw_view,
    png,
    render,
)
from maskwise.ingest.sources.table import TableConfig
from maskwise.scans.reading import DEFAULT, Reading

TABLE = "phantom.csv"


@dataclass(frozen=True)
class PhantomConfig:
    """What is generated; images do not change when more are asked for."""

    images: Annotated[int, Within(12, 1_000_000)] = 640
    """At least 12: some of every class, of several patients."""
    seed: Seed = 0
    smallest_side: Annotated[int, Within(32, LARGEST)] = 72
    """Pixels; sides are drawn per image between the two."""
    largest_side: Annotated[int, Within(32, LARGEST)] = 96
    duplicate_distance: Distance = 0
    """Bits, 0 to 16; phantoms of different patients are never the same scan."""

    @property
    def modality(self) -> str:
        return "ultrasound"

    def __post_init__(self) -> None:
        if self.smallest_side > self.largest_side:
            raise ValueError(
                f"smallest_side is {self.smallest_side}, but must not be larger than "
                f"largest_side, {self.largest_side}"
            )

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield images, masks and, last, the table; memory holds one image at a time."""
        lines = ["path,diagnosis,patient,mask"]
        for patient, view in self._views():
            name = f"images/p{patient.number:06d}_{view}"
            image, lesion = render(draw_view(patient, self.seed, view, self._sides))
            yield f"{name}.png", png(image)
            yield f"{name}_mask.png", png(lesion)
            facts = CLASSES[patient.kind], f"p{patient.number:06d}", f"{name}_mask.png"
            lines.append(",".join([f"{name}.png", *facts]))
        yield TABLE, ("\n".join(lines) + "\n").encode()

    @property
    def reading(self) -> Reading:
        return DEFAULT

    def listing(self, raw: Path) -> Listing:
        return TableConfig(
            table=TABLE, labels={"diagnosis": "diagnosis"}, patient="patient", masks="mask"
        ).listing(raw)

    @property
    def _sides(self) -> tuple[int, int]:
        return self.smallest_side, self.largest_side

    def _views(self) -> Iterator[tuple[Patient, int]]:
        """Yield patient and view of every image, patient by patient."""
        left, number = self.images, 0
        while left:
            patient = draw_patient(self.seed, number)
            for view in range(min(left, patient.views)):
                yield patient, view
            left, number = max(0, left - patient.views), number + 1
