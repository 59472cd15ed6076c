"""A scan becomes what the model was trained on, or is refused with the reason."""

from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from maskwise.artefacts.encoder import EncoderMetadata
from maskwise.errors import UserError, cut
from maskwise.predict.contracts import Look
from maskwise.predict.scans import Scan
from maskwise.scans.decode import check_values
from maskwise.scans.images import to_network
from maskwise.scans.raw import MAX_PIXELS, read_frame, read_grey
from maskwise.scans.reading import DEFAULT, Reading

Colour = Literal["refuse", "grey"]

LARGEST_ENLARGEMENT = 2.0
"""A scan this many times smaller than the network's image has not the detail it asks for."""


class RefusedError(Exception):
    """Why no prediction is made for a scan."""


def read_scan(
    root: Path,
    scan: Scan,
    metadata: EncoderMetadata,
    colour: Colour,
    reading: Reading = DEFAULT,
) -> Look:
    """Return what the network sees, made exactly as in training.

    Raises:
        RefusedError: if the scan cannot be read, or is of another modality, channel count or
            size than the model's training images.
    """
    check_modality(scan.modality, metadata)
    read = read_grey if metadata.channels == 1 and colour == "grey" else read_frame
    try:
        decoded = read(root, scan.path, scan.frame, MAX_PIXELS, reading)[1]
        pixels = decoded.pixels
        check_values(pixels, scan.path)
        _check_size(pixels, metadata)
        intensities = to_network(
            _with_channels(pixels, metadata.channels, colour),
            metadata.geometry,
            metadata.intensity,
            metadata.channels,
            metadata.height,
            metadata.width,
            background=decoded.background,
        )
        return Look(intensities, (pixels.shape[0], pixels.shape[1]))
    except UserError as error:
        raise RefusedError(str(error).removeprefix(f"{scan.path}: ")) from None


def check_modality(modality: str | None, metadata: EncoderMetadata) -> None:
    """Raise ``RefusedError`` where the modality is known to be another than the model's."""
    if modality is not None and modality != metadata.modality:
        raise RefusedError(
            f"the modality is {cut(modality)}, but the model was trained on "
            f"{cut(metadata.modality)}"
        )


def _with_channels(pixels: NDArray[Any], channels: int, colour: Colour) -> NDArray[Any]:
    """Return ``(H, W, channels)`` for a scan ``(H, W, 1 or 3)`` that has as many in fact."""
    grey = pixels.shape[2] == 1 or bool((pixels == pixels[:, :, :1]).all())
    found = 1 if grey else pixels.shape[2]
    if found == channels:
        # Most "RGB" scans hold one channel three times.
        return pixels[:, :, :channels]
    if channels == 1 and colour == "grey":
        return pixels
    advice = "; predict.colour: grey turns colours into grey" if channels == 1 else ""
    raise RefusedError(f"the scan has {found} channels, the model takes {channels}{advice}")


def _check_size(pixels: NDArray[Any], metadata: EncoderMetadata) -> None:
    height, width = pixels.shape[:2]
    if metadata.geometry.get("name") == "pad":
        return  # Nothing is enlarged, and what is too large is refused there.
    if max(metadata.height / height, metadata.width / width) > LARGEST_ENLARGEMENT:
        raise RefusedError(
            f"the scan has {height} x {width} pixels, the model takes {metadata.height} x "
            f"{metadata.width}: so small a scan lacks the detail that it was trained on"
        )
