"""The options of preprocess: a source's own, and those common to all sources."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from maskwise.artefacts.store import Laterality
from maskwise.bounds import LARGEST, Decay, Length, PartShare, Seed, Within, Workers
from maskwise.config import Choice, choose
from maskwise.errors import hint
from maskwise.preparation import Preparation
from maskwise.preparation.geometry import GEOMETRIES
from maskwise.preparation.intensity import DEFAULTS, INTENSITIES
from maskwise.preprocess.thinning import ThinConfig
from maskwise.scans.decode import PIXEL_LIMIT
from maskwise.scans.pictures import MAX_PIXELS
from maskwise.workers import LONGEST, SECONDS_PER_FILE

MODALITIES = tuple(DEFAULTS)
"""What a source's scans may be called."""


@dataclass(frozen=True)
class SourcePreprocessConfig:
    """A source's block ``preprocess``: what its images become, and how they are split."""

    height: Annotated[int, Within(8, LARGEST)]
    """Pixels of the network's image."""
    width: Annotated[int, Within(8, LARGEST)]
    """Pixels of the network's image."""
    channels: Literal[1, 2, 3] = 1
    """1 = grey (colour becomes luminance), 3 = colour, or three sequences; with ``windows`` as
    many as there are windows."""
    modality: str = "other"
    """``ultrasound``, ``mr``, ``ct``, ``xray`` or ``other``."""
    laterality: Laterality = "free"
    """``fixed`` where left and right mean something: no stage then mirrors an image."""
    label: str | None = None
    """The label that splits are stratified by; null for a source without labels."""
    separator: Annotated[str, Length(1, 10)] | None = None
    """What stands between the labels of an image that may have several, as in
    ``SPICULATED|OBSCURED``; null = one class per image. Splits are then stratified by the
    combinations that groups show, rare ones pooled."""
    geometry: Annotated[dict[str, Any], Choice(lambda: GEOMETRIES)] = field(
        default_factory=lambda: {"name": "resize"}
    )
    """``resize``, ``crop`` or ``pad``, with its options."""
    intensity: Annotated[dict[str, Any], Choice(lambda: INTENSITIES)] | None = None
    """``range``, ``window``, ``windows`` or ``percentile``, with its options; null = the
    modality's."""
    split: Literal["auto", "official", "corrected", "own"] = "auto"
    """``official`` keeps the publisher's split, leaks and all; ``corrected`` keeps its groups
    whole (each goes where it would be learnt from first); ``own`` makes one; ``auto`` =
    official where there is one, else own."""
    validation_share: PartShare = 0.15
    """Of the images, in (0, 1)."""
    test_share: Decay | None = None
    """Of the images, in [0, 1); null = 0.15 with a label, else 0: nothing is tested."""
    folds: Annotated[int, Within(0, 100)] = 0
    """k: seed s tests on fold s mod k; 0 = one split for all seeds."""
    fine: Literal[1, 2, 4] = 1
    """Times the network's size at which images are kept, per side; the network's is their mean.
    Objectives that draw finer detail than the network sees need 2 or 4."""
    thin: ThinConfig | None = None
    """Of slices of a series that look alike, pre-training sees one; null: all of them."""
    split_seed: Seed = 0
    """Of the own split; every seed of the study uses the same split."""

    def __post_init__(self) -> None:
        _refuse(
            (self.modality not in DEFAULTS, f"modality: {hint(self.modality, DEFAULTS)}"),
            (
                self.label is not None and self.share_of_test == 0,
                "test_share should lie above 0 where there is a label to predict",
            ),
            (
                self.validation_share + self.share_of_test >= 1,
                "validation_share and test_share leave nothing to train on",
            ),
            (
                self._windows not in (0, self.channels),
                f"channels is {self.channels}, but intensity.windows names {self._windows}: "
                f"set `channels: {self._windows}`",
            ),
            (
                self.channels == 2 and not self._windows,
                "channels is 2, which is for two windows of one image (intensity `windows`); "
                "set 1 or 3",
            ),
            (self.folds in (1, 2), f"folds is {self.folds}, but should be 0, or 3 or more"),
            (
                self.folds > 0 and self.split in ("official", "corrected"),
                "folds and an official split exclude each other: set `split: own`",
            ),
        )

    @property
    def share_of_test(self) -> float:
        """Return ``test_share`` with its default filled in."""
        if self.test_share is None:
            return 0.0 if self.label is None else 0.15
        return self.test_share

    @property
    def _windows(self) -> int:
        intensity = self.intensity or {}
        return len(intensity["windows"]) if intensity.get("name") == "windows" else 0

    def preparation(self) -> Preparation:
        """Return what becomes of each image, with mean 0 and std 1 until they are known."""
        intensity = DEFAULTS[self.modality] if self.intensity is None else self.intensity
        return Preparation(
            channels=self.channels,
            height=self.height,
            width=self.width,
            geometry=_complete(GEOMETRIES, self.geometry, "geometry"),
            intensity=_complete(INTENSITIES, intensity, "intensity"),
            mean=(0.0,) * self.channels,
            std=(1.0,) * self.channels,
            modality=self.modality,
            fine=self.fine,
        )


@dataclass(frozen=True)
class PreprocessConfig:
    """The block ``preprocess``: how every source is prepared."""

    workers: Workers | None = None
    """Processes; null = one per core, fewer for few images."""
    dtype: Literal["auto", "uint8", "uint16"] = "auto"
    """Of the stored pixels; ``auto`` = uint8 where all files hold 8 bits or fewer."""
    max_pixels: Annotated[int, Within(1, PIXEL_LIMIT)] = MAX_PIXELS
    """Refuse to decode an image of more pixels (a decompression bomb)."""
    seconds_per_file: Annotated[float, Within(0.1, LONGEST)] = SECONDS_PER_FILE
    """An image that takes longer to read ends the run by name."""


def _complete(choices: Mapping[str, type[Any]], block: Any, where: str) -> dict[str, Any]:
    """Write a block's defaults out, so that an artefact says all it stands for."""
    return {"name": block["name"], **asdict(choose(choices, block, where))}


def _refuse(*rules: tuple[bool, str]) -> None:
    problems = [message for broken, message in rules if broken]
    if problems:
        raise ValueError("; ".join(problems))
