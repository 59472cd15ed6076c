"""The probe: validation images, fixed before training, on which a policy is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from maskwise import seeds
from maskwise.artefacts.gallery import Gallery
from maskwise.artefacts.store import Store
from maskwise.masks import Grid, boxes, cell_means, highest, to_pixels
from maskwise.pretrain.contracts import Batch, Objective, PlaceMap, Policy
from maskwise.pretrain.diagnostics import cells
from maskwise.pretrain.diagnostics.agreement import agree
from maskwise.pretrain.diagnostics.fill import masked_error, smooth_fill
from maskwise.pretrain.diagnostics.lift import (
    Floats,
    bootstrap_counts,
    box_of,
    content_controls,
    controls,
    intervals,
    lift_matrix,
    local_variance,
    loudest_boxes,
    middle_box,
)
from maskwise.pretrain.diagnostics.opinion import (
    choice_spread,
    position_share,
    rank_correlation,
)

LIMIT, DRAWN, TRIED, SHOWN = 256, 64, 32, 12
"""At most so many images are measured, reconstructed, hidden at random, kept to be shown."""
AVERAGED = 2048
"""At most so many training images make the mean image."""


@dataclass(frozen=True)
class Frame:
    """One moment of training; arrays are empty where a recipe has no such thing."""

    masks: NDArray[np.bool_]
    """``(P, gh, gw)`` of the gallery's images."""
    maps: NDArray[np.float16]
    """``(P, ph, pw)``."""
    reconstructions: NDArray[np.uint8]
    """``(P, H, W)``: the image with the network's answer where it was hidden."""
    errors: dict[str, float] = field(default_factory=dict)
    """``error``, ``error_mean_image``, ``error_smooth_fill``: over hidden pixels; and
    ``error_correlation`` of a policy's map."""
    map_box: tuple[int, int] = (0, 0)
    """Of the maps: see ``PlaceMap``; 0 without maps."""
    map_stride: int = 0
    probe_masks: NDArray[np.uint8] = field(default_factory=lambda: _empty(np.uint8))
    """``(M, ceil(gh * gw / 8))``: packed, of all images of the probe."""


@dataclass(frozen=True)
class Probe:
    """At most 256 validation images with lesions, or without where the source shows none."""

    images: Tensor
    """``(P, C, H, W)`` float32, normalised, not augmented."""
    lesions: Tensor | None
    """``(P, H, W)`` bool, True = lesion; measured, never learnt from."""
    index: Tensor
    """``(P,)`` int64, rows of the store."""
    groups: NDArray[np.int64]
    """``(P,)``, 0 to G - 1."""
    image_ids: NDArray[np.str_]
    mean_image: Tensor
    """``(C, H, W)``, of training images, normalised."""
    grid: Grid
    mean: Tensor
    """``(C, 1, 1)``: intensity = normalised * std + mean."""
    std: Tensor
    counts: Floats
    """``(draws, G)`` of the bootstrap, the same for all epochs."""

    @staticmethod
    def build(store: Store, splits: pd.DataFrame, grid: Grid, seed: int) -> "Probe":
        """Choose the images; never of the test split.

        Without any validation image, training images are taken; without any lesion, the probe
        has none and ``measure`` leaves the lifts out.
        """
        training = _rows(store, splits, "train")
        rows = _rows(store, splits, "validation")
        rows = rows if len(rows) else training
        shows = _with_lesion(store, rows)
        order = seeds.stream(seed, "probe", "images")
        rows = np.sort(order.permutation(rows[shows] if shows.any() else rows)[:LIMIT])
        averaged = np.sort(order.permutation(training)[:AVERAGED])
        names = store.index["group"].to_numpy()[rows]
        _, groups = np.unique(names.astype(str), return_inverse=True)
        lesions = (
            torch.from_numpy(store.lesions(rows))
            if store.masks is not None and shows.any()
            else None
        )
        return Probe(
            images=torch.from_numpy(store.normalised(rows)),
            lesions=lesions,
            index=torch.from_numpy(rows),
            groups=groups.astype(np.int64),
            image_ids=store.index["image_id"].to_numpy()[rows].astype(str),
            mean_image=_mean_image(store, averaged),
            grid=grid,
            mean=torch.tensor(store.header.preparation.mean)[:, None, None],
            std=torch.tensor(store.header.preparation.std)[:, None, None],
            counts=bootstrap_counts(
                len(np.unique(groups)), seeds.stream(seed, "probe", "bootstrap")
            ),
        )

    def to(self, device: torch.device | str) -> "Probe":
        """Return the same probe with its images where the policy is."""
        return replace(
            self,
            images=self.images.to(device),
            lesions=None if self.lesions is None else self.lesions.to(device),
            index=self.index.to(device),
            mean_image=self.mean_image.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def measure(self, policy: Policy[Any], generator: Generator) -> dict[str, float]:
        """Return the figures of what ``policy`` hides now; costs a pass of the policy."""
        masks = self._masks(policy, generator)
        with torch.no_grad():
            maps = policy.maps(self.images, self.grid)
        figures = {"hidden_share": float(masks.double().mean())}
        if not bool(masks.any()):
            return figures
        scattered = cells.are_cells(masks, maps)
        box = (1, 1) if scattered else box_of(masks)
        variance = local_variance(self.images, self.grid, box)
        places = variance[0].numel() if maps is None else maps.values[0].numel()
        figures["entropy"], figures["top_share"] = choice_spread(masks.cpu().numpy(), places)
        if maps is not None:
            figures |= self._opinion(maps)
            if scattered:
                figures["overlap"] = cells.overlap(masks, self._masks(policy, generator))
        if self.lesions is None or not bool(masks.any(2).any(1).all()):
            return figures
        lesions = cell_means(self.lesions[:, None].double(), self.grid)
        untrained = (
            self._cell_controls(masks, variance)
            if scattered
            else {
                "centre": middle_box(len(masks), self.grid, box),
                "variance": loudest_boxes(variance, self.grid, box),
            }
        )
        if maps is not None:
            untrained["mean_map"] = self._by_mean_map(maps, masks)
        return figures | self._lifts(lesions, masks, untrained, variance, box)

    def _cell_controls(self, masks: Tensor, variance: Tensor) -> dict[str, Tensor]:
        number = cells.number_of(masks)
        return {
            "centre": cells.middle_cells(len(masks), self.grid, number),
            "variance": highest(variance, number, self.grid),
        }

    def _by_mean_map(self, maps: PlaceMap, masks: Tensor) -> Tensor:
        """Return what the policy's map hides when its mean over all images stands for each."""
        mean = maps.values.double().mean(0, keepdim=True)
        if maps.box == (1, 1):
            chosen = highest(mean, cells.number_of(masks), self.grid)
            return chosen.expand(len(masks), -1, -1)
        place, width = mean.flatten(1).argmax(1), mean.shape[2]
        top, left = place // width * maps.stride, place % width * maps.stride
        return boxes(top, left, maps.box, self.grid).expand(len(masks), -1, -1)

    def _masks(self, policy: Policy[Any], generator: Generator) -> Tensor:
        """Choose masks for all images; in full precision, wherever it is asked."""
        with torch.no_grad(), torch.autocast(self.images.device.type, enabled=False):
            return policy.choose_masks(self.images, self.grid, generator)

    def _opinion(self, maps: PlaceMap) -> dict[str, float]:
        ph, pw = maps.values.shape[1:]
        variance = local_variance(self.images, self.grid, maps.box, maps.stride, (ph, pw))
        q = maps.values.double().cpu().numpy()
        return {
            "variance_correlation": rank_correlation(q, variance.cpu().numpy()),
            "position_share": position_share(q),
        }

    def _lifts(
        self,
        lesions: Tensor,
        masks: Tensor,
        untrained: dict[str, Tensor],
        variance: Tensor,
        box: tuple[int, int],
    ) -> dict[str, float]:
        matrix = lift_matrix(masks, lesions).cpu().numpy()
        lift, content = intervals(matrix, self.groups, self.counts)
        figures = {
            f"{name}{part}": getattr(interval, attribute)
            for name, interval in (("lift", lift), ("content_lift", content))
            for part, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        matrices = {
            name: lift_matrix(hidden.to(lesions.device), lesions).cpu().numpy()
            for name, hidden in untrained.items()
        }
        mean_map = matrices.pop("mean_map", None)
        figures |= content_controls(matrix, matrices, self.groups, self.counts)
        if mean_map is not None:
            figures["lift_mean_map"] = float(mean_map.diagonal().mean())
        if box == (1, 1):
            return figures | cells.own_lifts(lesions, masks, matrices)
        return figures | controls(lesions, variance, box)

    def draw(self, policy: Policy[Any], objective: Objective, generator: Generator) -> Frame:
        """Reconstruct some probe images behind the masks that ``policy`` chooses now.

        With the generator of ``measure`` these are the masks that were measured. The
        objective runs in eval mode and is left in train mode.
        """
        images, everywhere = self.images[:DRAWN], self._masks(policy, generator)
        masks = everywhere[:DRAWN]
        with torch.no_grad():
            maps = policy.maps(images, self.grid)
            objective.train(False)
            outcome = objective(self._batch(len(images)), masks)
            agreement = {}
            if maps is not None and _differ(outcome.error_map):
                tried = self._batch(min(TRIED, len(images)))
                agreement = agree(maps, objective, tried, self.grid, generator)
            objective.train(True)
        shown = masks[:SHOWN].cpu().numpy()
        packed = np.packbits(everywhere.flatten(1).cpu().numpy(), axis=1)
        frame = Frame(shown, _empty(np.float16), _empty(np.uint8), probe_masks=packed)
        if maps is not None:
            values = maps.values[:SHOWN].cpu().numpy().astype(np.float16)
            frame = replace(frame, maps=values, map_box=maps.box, map_stride=maps.stride)
        if outcome.residual is None:
            return replace(frame, errors=agreement)
        hidden = to_pixels(masks, *images.shape[2:])
        answer = torch.where(hidden, images + outcome.residual.to(images.dtype), images)
        return replace(
            frame,
            reconstructions=self._grey(answer[:SHOWN]),
            errors=self._errors(images, answer, hidden) | agreement,
        )

    def _batch(self, number: int) -> Batch:
        return Batch(
            images=self.images[:number],
            index=self.index[:number],
            group=torch.from_numpy(self.groups[:number]).to(self.index.device),
            augmentation_seed=self.index[:number],
            progress=0.0,
        )

    def _errors(self, images: Tensor, answer: Tensor, hidden: Tensor) -> dict[str, float]:
        if not bool(hidden.any()):
            return {}
        return {
            "error": masked_error(answer, images, hidden),
            "error_mean_image": masked_error(self.mean_image[None], images, hidden),
            "error_smooth_fill": masked_error(smooth_fill(images, hidden), images, hidden),
        }

    def gallery(
        self, epochs: Sequence[int] = (), frames: Sequence[Frame] = (), learns: bool = False
    ) -> Gallery:
        """Join the frames drawn at ``epochs`` into what is written to disk."""
        images = self.images[:SHOWN]
        none = np.zeros((len(images), *images.shape[2:]), bool)
        return Gallery(
            epochs=np.asarray(epochs, np.int64),
            image_ids=self.image_ids[:SHOWN],
            images=self._grey(images),
            lesions=none if self.lesions is None else self.lesions[:SHOWN].cpu().numpy(),
            masks=_stack([frame.masks for frame in frames], np.bool_),
            maps=_stack([frame.maps for frame in frames], np.float16),
            map_box=np.asarray(frames[0].map_box if frames else (0, 0), np.int64),
            map_stride=np.asarray(frames[0].map_stride if frames else 0, np.int64),
            learns=np.asarray(learns),
            reconstructions=_stack([frame.reconstructions for frame in frames], np.uint8),
            probe_ids=self.image_ids,
            probe_masks=_stack([frame.probe_masks for frame in frames], np.uint8),
        )

    def _grey(self, images: Tensor) -> NDArray[np.uint8]:
        """Turn normalised ``(P, C, H, W)`` into grey levels, channels averaged."""
        intensities = (images * self.std + self.mean).mean(1).nan_to_num(0.0)
        return (255 * intensities).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _rows(store: Store, splits: pd.DataFrame, split: str) -> NDArray[np.int64]:
    return store.rows(splits.loc[splits["split"] == split, "image_id"].to_numpy())


def _with_lesion(store: Store, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows show a lesion; one mask at a time, as a store may exceed memory."""
    if store.masks is None:
        return np.zeros(len(rows), bool)
    return np.fromiter((bool(store.masks[row].any()) for row in rows), bool, len(rows))


def _mean_image(store: Store, rows: NDArray[np.int64]) -> Tensor:
    total = np.zeros(store.images.shape[1:], np.float64)
    for chunk in np.array_split(rows, max(1, len(rows) // LIMIT)):
        total += store.normalised(chunk).sum(0, dtype=np.float64)
    return torch.from_numpy((total / max(1, len(rows))).astype(np.float32))


def _differ(errors: Tensor) -> bool:
    """Return whether ``errors`` ``(B, gh, gw)``, NaN where visible, tell cells apart at all."""
    seen = ~errors.isnan()
    highest = errors.masked_fill(~seen, -torch.inf).amax((1, 2))
    lowest = errors.masked_fill(~seen, torch.inf).amin((1, 2))
    return bool((highest > lowest).any())


def _empty(dtype: type[np.generic]) -> NDArray[Any]:
    return np.zeros(0, dtype)


def _stack(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    if not arrays or any(array.size == 0 for array in arrays):
        return _empty(dtype)
    return np.stack(arrays)
