"""What policies and objectives promise the loop. An objective never sees the policy.

Shapes, everywhere: images ``(B, C, H, W)`` float32, normalised (``Setting.mean_pixel`` = the
mean of the training images); grid ``(gh, gw)`` cells, which divides the image; mask ``(B, gh,
gw)`` bool, True = hidden.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from maskwise.artefacts.policy import LearntPolicy
from maskwise.artefacts.store import Laterality
from maskwise.encoders.contract import Encoder
from maskwise.masks import Grid
from maskwise.ranks import Shared


@dataclass(frozen=True)
class Batch:
    """One step's images, and all that makes the step repeatable."""

    images: Tensor
    """``(B, C, H, W)`` float32, normalised, after the recipe's own augmentation."""
    index: Tensor
    """``(B,)`` int64, rows of the store."""
    group: Tensor
    """``(B,)`` int64, equal for images that are not strangers (patient, duplicates)."""
    augmentation_seed: Tensor
    """``(B,)`` int64; with ``index`` it determines ``images`` and every view of them."""
    progress: float
    """Share of the steps in which the policy learns already made, in [0, 1]."""
    fine: Tensor | None = None
    """``(B, C, H Setting.fine, W Setting.fine)`` float32: the images as the store keeps them,
    of whose pixels ``images`` are the means; None where they are kept no finer."""


@dataclass(frozen=True)
class Proposal:
    """The cells to hide; a policy that learns extends it by what it must remember."""

    mask: Tensor


@dataclass(frozen=True)
class Outcome:
    """What an objective answers."""

    loss: Tensor
    """``()``, carries the gradient."""
    error_map: Tensor
    """``(B, gh, gw)`` float32, detached: mean loss per cell, NaN where nothing was hidden.
    Negative where an objective says ``reward: easy``: the least loss is best hidden.
    """
    residual: Tensor | None = None
    """``(B, C, H, W)`` float32, detached: reconstruction minus image, where there is one."""
    reconstruction: Tensor | None = None
    """``(B, C, H, W)`` float32, detached, where there is one."""
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    """Further ``()`` figures for the history, detached."""


@dataclass(frozen=True)
class PlaceMap:
    """What a policy thinks of every place that it may hide, and where these places lie.

    Place (i, j) is the box whose top-left cell is (i * stride, j * stride), cropped where it
    leaves the grid. One value per cell has a box of 1 x 1; one per patch, the patch.
    """

    values: Tensor
    """``(B, ph, pw)``, larger = rather hidden."""
    box: tuple[int, int]
    """Height and width of what a place hides, cells."""
    stride: int = 1
    """Cells between neighbouring places."""


P = TypeVar("P", bound=Proposal)


class Policy(Protocol[P]):
    """Chooses what is hidden. All that it learns or counts is in its ``state_dict``."""

    learns: bool
    """Whether training changes where it hides; a policy that does is an agent."""

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> P:
        """Choose cells for every image, in one batched operation."""

    def learn(self, proposal: P, outcome: Outcome) -> dict[str, Tensor]:
        """Learn from the step just made; return ``()`` figures for the history, on the device.

        Figures stay tensors: reading one would make a GPU wait at every step.
        """

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap | None:
        """Return what the policy thinks of each place.

        None for a policy that has no opinion of the image. Never changes the policy's state.
        """

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        """Return the masks ``(B, gh, gw)`` that it would choose now without exploring."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs: networks, optimisers, counters, replay."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take a ``state_dict`` back."""

    def to(self, device: Any) -> Any:
        """Move to the device."""


@runtime_checkable
class SharedPolicy(Protocol):
    """A policy that several processes can teach at once."""

    workers: int
    """Of them; 0 = this process alone."""

    def share(self) -> Any:
        """Move all that is learnt into shared memory, and return it for ``join``; picklable."""

    def join(self, shared: Any) -> None:
        """From now on teach ``shared``, and follow what others teach it."""


@runtime_checkable
class ChoosesRows(Protocol):
    """A policy that knows images by their rows of the store, and not by what they show."""

    def choose_rows(
        self, index: Tensor, images: Tensor, grid: Grid, generator: Generator
    ) -> Tensor:
        """Return the masks of ``choose_masks`` for the rows ``index`` ``(B,)``."""


@runtime_checkable
class KeepsMap(Protocol):
    """A policy whose map outlives its training: another run can ask for it."""

    def map_state(self) -> dict[str, Tensor]:
        """Return all that ``maps`` needs besides the options, and nothing else."""

    def load_map_state(self, state: dict[str, Tensor], where: str) -> None:
        """Take a ``map_state`` back.

        Raises:
            UserError: beginning with ``where``, if it does not fit.
        """


class Objective(nn.Module, Shared, ABC):
    """The network around the encoder, with its loss.

    It may be trained by several processes at once, each with a slice of the batch: what its
    ``forward`` owes the others says ``maskwise.ranks``.
    """

    encoder: Encoder
    draws_finer: bool = True
    """Whether it draws at scales beyond the image's own, where it has some. Whoever asks a copy
    for its error map alone, which is of the image's, sets it to False and saves their time."""

    @abstractmethod
    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        """Do the objective's task on the images with ``mask`` hidden.

        In eval mode it changes nothing of itself: it is only looked at.
        """

    if TYPE_CHECKING:

        def __call__(self, batch: Batch, mask: Tensor) -> Outcome: ...

    def project(self, pooled: Tensor) -> Tensor | None:
        """Return what is compared of pooled features ``(B, width)``; None if nothing is."""
        return None

    def stepped(self, progress: float) -> None:
        """Go on after an optimiser step, which may have been of several batches' gradients.

        For what lives from step to step: a slow copy, a queue. ``progress`` is the share of the
        network's steps that are made, this one included: (0, 1], 1 after the last.
        """


Lesions = Callable[[Tensor, Tensor | None], Tensor]
"""``(index, augmentation_seed) -> (B, 1, H, W)`` float32, 1 where a lesion is outlined, in the
frame of ``Batch.images``; without seeds, in that of the store."""


@dataclass(frozen=True)
class Setting:
    """What a policy or an objective is built for."""

    channels: int
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    grid: Grid
    steps_per_epoch: float
    """Number of training images / batch size."""
    batch_size: int
    """Images of a step; told to an objective, those that it sees at a time."""
    modality: str
    """``ultrasound``, ``mr``, ``ct``, ``xray`` or ``other``."""
    images: Callable[[Tensor, Tensor], Tensor]
    """``(index, augmentation_seed) -> images``: rebuilds a batch bit for bit, for replay."""
    mean: tuple[float, ...]
    """A channel: a pixel of ``Batch.images`` is (intensity in [0, 1] - mean) / std."""
    std: tuple[float, ...]
    laterality: Laterality
    """``fixed`` where left and right mean something; then nothing is mirrored."""
    rows: int
    """Images in the store: every ``Batch.index`` is below it."""
    steps: int
    """That the network makes in the run."""
    trained_on: int | None
    """Images of the store that the run draws from; None before there is a store."""
    mean_pixel: tuple[float, ...] = (0.0,)
    """A channel, or one for all: the mean of the training images, as a pixel of
    ``Batch.images``. What is hidden is filled with it. It is 0 unless the encoder's weights
    expect images that are normalised by another mean than their own."""
    objective: Objective | None = None
    """Given to policies, when they are built: for one that asks a copy of the network what is
    hard. It may look at it and copy it; it never changes it."""
    window: tuple[float, float] | None = None
    """Raw values, of CT Hounsfield units, whose intensities are 0 and 1; None where each image
    has its own."""
    lesions: Lesions | None = None
    """Outlines, for a ceiling that is told them and for nothing else; None without any."""
    learnt: LearntPolicy | None = None
    """The agent of another recipe that this one's policy asks for its map; None where it asks
    none."""
    fine: int = 1
    """How many times the network's size the images are kept at, per side."""
    detail: NDArray[np.float64] | None = None
    """Of the training images, how many pixels of its file a pixel of the network spans along a
    side; None where none is kept finer, or before there is a store."""
    histogram: Callable[[], Tensor] | None = None
    """Counts the *training* images' pixels by intensity, ``(bins,)`` over [0, 1]; no image of
    another part of the split, whatever the recipe says. Only what needs it calls it."""


class PolicyConfig(Protocol):
    """What a policy's YAML name stands for."""

    def build(self, setting: Setting) -> Policy[Any]: ...


@runtime_checkable
class ComparesCells(Protocol):
    """The config of a policy with options that need an error of each hidden cell by itself."""

    def comparing(self) -> str | None:
        """Return the option that does, and what to take instead; None where none does."""


@runtime_checkable
class HidesUnequally(Protocol):
    """The config of a policy that may hide more cells of one image than of another."""

    def unequal(self) -> str | None:
        """Return the option that lets it, and what to take instead; None where none does."""


@runtime_checkable
class EqualCells(Protocol):
    """The config of an objective that needs as many hidden cells in every image."""

    equal_cells: ClassVar[bool]


@runtime_checkable
class PixelReward(Protocol):
    """The config of a policy whose reward may be made of ``Outcome.residual``."""

    @property
    def pixel_option(self) -> str:
        """The option that asks for it, as written (``reward: sum_full``); empty if none."""


class ObjectiveConfig(Protocol):
    """What an objective's YAML name stands for."""

    needs_mask: ClassVar[bool]
    """Whether it is meaningless without hidden cells."""
    errors_by_cell: ClassVar[bool]
    """Whether hidden cells of one image have errors of their own; else all have the image's."""
    needs_training: ClassVar[bool]
    """Whether the loop has anything to do."""

    @property
    def draws_pixels(self) -> bool:
        """Whether its outcomes hold a ``residual``, which some rewards are made of."""

    def build(self, setting: Setting, encoder: Encoder) -> Objective: ...
