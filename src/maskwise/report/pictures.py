"""A matplotlib figure becomes a picture inside the page: the same bytes for the same figure."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from numpy.typing import NDArray
from PIL import Image

from maskwise.inline import data_uri, scan_uri

# Everything is drawn from here, never from the reader's own matplotlibrc. DejaVu comes with
# matplotlib, so that a page does not depend on the fonts of the machine that made it.
_RC: dict[RcKeyType, Any] = {
    "axes.edgecolor": "#5b6670",
    "axes.grid": True,
    "axes.labelcolor": "#1d2730",
    "axes.labelsize": 10.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "grid.color": "#e3e7ea",
    "grid.linewidth": 0.8,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    # Letters as letters, which journals ask for; the default draws them as shapes (Type 3).
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "maskwise",
    "xtick.color": "#3d4852",
    "ytick.color": "#3d4852",
}


@dataclass(frozen=True)
class Picture:
    """One image of the page."""

    uri: str
    """A data URI: the page needs no other file."""
    alternative: str
    """What the picture shows, for those who cannot see it."""
    caption: str
    width: int
    """CSS pixels at full size; never shown wider than the screen."""
    height: int


@contextmanager
def drawing(changes: Mapping[RcKeyType, Any] = MappingProxyType({})) -> Iterator[None]:
    """Draw in the page's own style, but for ``changes``."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update({**_RC, **changes})
        # A class named in letters that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def as_svg(figure: Figure, alternative: str, caption: str) -> Picture:
    """Encode lines and text: sharp on paper and on a phone."""
    return _picture(figure, svg_bytes(figure), "image/svg+xml", (alternative, caption))


def svg_bytes(figure: Figure) -> bytes:
    """Return the figure as an SVG file, without a date."""
    return _saved(figure, "svg", {"Date": None, "Creator": None})


def pdf_bytes(figure: Figure) -> bytes:
    """Return the figure as a PDF file, without a date."""
    return _saved(figure, "pdf", {"CreationDate": None, "Creator": None, "Producer": None})


def as_png(figure: Figure, alternative: str, caption: str) -> Picture:
    """Encode what consists of scans."""
    with Image.open(BytesIO(png_bytes(figure))) as image:
        buffer = BytesIO()
        # A palette is enough for grey scans and one colour scale, and a third of the size.
        image.convert("RGB").quantize(256).save(buffer, "PNG", optimize=True)
    return _picture(figure, buffer.getvalue(), "image/png", (alternative, caption))


def thumbnail(scan: NDArray[np.float32], alternative: str, caption: str) -> Picture:
    """Encode a scan ``(C, H, W)`` of intensities in [0, 1]: in colour, or its first channel."""
    height, width = scan.shape[1:]
    uri = scan_uri(scan.transpose(1, 2, 0) if len(scan) == 3 else scan[0])
    return Picture(uri, alternative, caption, max(160, width), max(160, height))


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as a PNG file, without a note on when or by what it was made."""
    return _saved(figure, "png", {"Software": None})


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = BytesIO()
    with drawing():
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _picture(figure: Figure, content: bytes, kind: str, words: tuple[str, str]) -> Picture:
    width, height = (round(float(side) * 96) for side in figure.get_size_inches())
    return Picture(data_uri(content, kind), words[0], words[1], width, height)
