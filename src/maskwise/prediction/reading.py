"""A scan becomes what the model was trained on, or is refused with the reason.

Worker processes import this module, so it knows nothing that needs torch or pandas.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from numpy.typing import NDArray

from maskwise.errors import UserError, cut
from maskwise.prediction.contracts import Look, Refused, Scan
from maskwise.preparation import Preparation
from maskwise.scans.decode import Decoded, check_values, claimed_format
from maskwise.scans.modality import contradicts
from maskwise.scans.pictures import (
    MAX_PIXELS,
    archive_reader,
    frames_in,
    read_frame,
    read_grey,
    volume_reader,
)
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import REASONS, RejectedError
from maskwise.scans.volume import frames_of
from maskwise.wording import count
from maskwise.workers import Loss, LossReason

AT_ONCE = 16
"""Scans that a worker takes at once; what the network sees of them is all in memory."""
Colour = Literal["refuse", "grey"]

LARGEST_ENLARGEMENT = 2.0
"""A scan this many times smaller than the network's image has not the detail it asks for."""


class RefusedError(Exception):
    """Why no prediction is made for a scan."""

    def __init__(self, detail: str, nameless: str | None = None) -> None:
        """Keep both texts; ``nameless`` is left out where ``detail`` quotes nothing."""
        self.refused = Refused(detail, detail if nameless is None else nameless)
        super().__init__(detail)


@dataclass(frozen=True)
class Way:
    """How all scans of a run are read."""

    root: Path
    preparation: Preparation
    """As the model's file says."""
    colour: Colour = "refuse"
    reading: Reading = DEFAULT
    block: str = "predict"
    """Of the parameters, for what a refusal advises."""


def see(way: Way, scan: Scan) -> Look | Refused:
    """Return what the network sees, or the reason why it sees nothing."""
    try:
        return read_scan(way, scan)
    except RefusedError as error:
        return error.refused


def unseen(block: str, scan: Scan, loss: Loss) -> Refused:
    """Return the reason for a scan that no process could read to its end."""
    advice = f"; set {block}.seconds_per_file higher" if loss.reason == "too_slow" else ""
    reason = f"{loss.detail}{advice} ({loss.reason})"
    return Refused(reason, reason)


def was_lost(refused: str) -> bool:
    """Say whether a reason for the table is one of ``unseen``."""
    return refused.endswith(tuple(f"({reason})" for reason in get_args(LossReason)))


def read_scan(way: Way, scan: Scan) -> Look:
    """Return what the network sees, made exactly as in training.

    Raises:
        RefusedError: if the scan cannot be read, or is of another modality, channel count,
            size or, under intensity `range`, pixel type than the model's training images.
    """
    preparation = way.preparation
    check_modality(scan.modality, preparation.modality)
    decoded = _decode(way, scan)
    if contradicts(decoded.modality, preparation.modality):
        check_modality(decoded.modality, preparation.modality)
    _check_size(decoded.pixels, preparation)
    pixels = _with_channels(decoded.pixels, way)
    try:
        preparation.check_like_training(pixels)
        intensities = preparation.intensities(pixels, decoded.background)
    except UserError as error:  # it is told no file's name, and quotes none
        raise RefusedError(str(error)) from None
    return Look(intensities, (pixels.shape[0], pixels.shape[1]))


def _decode(way: Way, scan: Scan) -> Decoded:
    grey = way.preparation.takes == 1 and way.colour == "grey"
    read = read_grey if grey else read_frame
    try:
        decoded = read(way.root, scan.path, scan.frame, MAX_PIXELS, way.reading)[1]
        check_values(decoded.pixels, scan.path)
    except UserError as error:
        nameless = "cannot be read"
        if isinstance(error, RejectedError):
            nameless = explained(error.reject.reason)
        raise RefusedError(str(error).removeprefix(f"{scan.path}: "), nameless) from None
    return decoded


def explained(reason: str) -> str:
    """Return what a reason means, in words that name no file."""
    return f"{REASONS[reason]} ({reason})"


def check_modality(modality: str | None, trained: str) -> None:
    """Raise ``RefusedError`` where the modality is known to be another than the model's."""
    if modality is not None and modality != trained:
        raise RefusedError(
            f"the modality is {cut(modality)}, but the model was trained on {cut(trained)}",
            f"the modality is not that of the model, {cut(trained)}",
        )


def _with_channels(pixels: NDArray[Any], way: Way) -> NDArray[Any]:
    """Return ``(H, W, channels)`` for a scan ``(H, W, 1 or 3)`` that has as many in fact."""
    channels, colour = way.preparation.takes, way.colour
    grey = pixels.shape[2] == 1 or bool((pixels == pixels[:, :, :1]).all())
    found = 1 if grey else pixels.shape[2]
    if found == channels:
        # Most "RGB" scans hold one channel three times.
        return pixels[:, :, :channels]
    if channels == 1 and colour == "grey":
        return pixels
    advice = f"; {way.block}.colour: grey turns colours into grey" if channels == 1 else ""
    raise RefusedError(
        f"the scan has {count(found, 'channel')}, the model takes {channels}{advice}"
    )


def _check_size(pixels: NDArray[Any], trained: Preparation) -> None:
    height, width = pixels.shape[:2]
    if trained.geometry["name"] == "pad":
        return  # Nothing is enlarged, and what is too large is refused there.
    if max(trained.height / height, trained.width / width) > LARGEST_ENLARGEMENT:
        raise RefusedError(
            f"the scan has {height} x {width} pixels, the model takes {trained.height} x "
            f"{trained.width}: so small a scan lacks the detail that it was trained on"
        )


def count_frames(root: Path, reading: Reading, path: str) -> int:
    """Return how many images a file holds; 1 where it cannot be read, which is told later."""
    try:
        if path.lower().endswith(".npz"):
            return sum(archive_reader(root, path).counts.values())
        if claimed_format(path) == "NIFTI":
            reader = volume_reader(root, path, reading)
            if reader.geometry.volumes:
                return 1
            reader.load()  # a header may claim any number of slices, and each becomes a row
            return len(frames_of(reader.geometry.shape, "axial"))
        return frames_in(root, path)
    except (RejectedError, OSError):
        return 1
