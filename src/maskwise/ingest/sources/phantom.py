"""Ultrasound-like images with known lesions, written as real files and read back like any."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from maskwise.bounds import LARGEST, Seed, Within
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance
from maskwise.ingest.sources.phantom_detail import draw_detail, with_detail, with_margin
from maskwise.ingest.sources.phantom_scene import (
    CLASSES,
    Patient,
    Scene,
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
    structure: Literal["plain", "fine"] = "plain"
    """``fine``: calcifications and margins that differ by a pixel or two, told by a label
    ``findings`` of several per image; sides should then be twice the network's or more."""
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
        fine = self.structure == "fine"
        lines = ["path,diagnosis,patient,mask" + (",findings" if fine else "")]
        for patient, view in self._views():
            name = f"images/p{patient.number:06d}_{view}"
            scene, findings = self._scene(patient, view)
            image, lesion = render(scene)
            yield f"{name}.png", png(image)
            yield f"{name}_mask.png", png(lesion)
            facts = [CLASSES[patient.kind], f"p{patient.number:06d}", f"{name}_mask.png"]
            lines.append(",".join([f"{name}.png", *facts, *([findings] if fine else [])]))
        yield TABLE, ("\n".join(lines) + "\n").encode()

    @property
    def reading(self) -> Reading:
        return DEFAULT

    def listing(self, raw: Path) -> Listing:
        labels = ["diagnosis", *(["findings"] if self.structure == "fine" else [])]
        return TableConfig(
            table=TABLE,
            labels={name: name for name in labels},
            patient="patient",
            masks="mask",
        ).listing(raw)

    def _scene(self, patient: Patient, view: int) -> tuple[Scene, str]:
        """Draw one view, and say what fine structure it shows."""
        if self.structure == "plain":
            return draw_view(patient, self.seed, view, self._sides), ""
        detail = draw_detail(self.seed, patient.number)
        drawn = draw_view(with_margin(patient, detail), self.seed, view, self._sides)
        scene = with_detail(drawn, patient, detail, self.seed, view)
        return scene, detail.findings(patient.lesion is not None)

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
