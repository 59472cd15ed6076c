"""Pages of a TIFF: which of them are pictures, and what their numbers mean.

tifffile finds and decodes them. What they claim is checked against the file beforehand
(``tiff_pages.py``), what their samples mean is decided afterwards (``tiff_samples.py``), and
whatever TIFF leaves open is refused by name.
"""

import io
import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from maskwise.scans.decode import Decoded, check_frame, check_size
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.orientation import checked, turned
from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark
from maskwise.scans.tiff_pages import check_page, check_segments, lost_by, number_type
from maskwise.scans.tiff_samples import Picture, picture_of
from maskwise.wording import count

MOST_PAGES = 2**20
"""Of a file; a page may be as little as a directory, and each becomes a row."""
_SLIDES = ("svs", "ndpi", "scn", "bif", "philips", "qpi", "avs", "indica")
"""Whole-slide images, as tifffile calls them: their pages are levels, labels and overviews."""
_ORIENTATION = 274
_TRUNCATED = '"truncated": true'
"""In a description by tifffile: the page stands for many, whose directories were left out."""


class TiffReader:
    """Reads single pages of one file."""

    def __init__(self, data: bytes, path: str, limit: int) -> None:
        """Find the pages in the content ``data`` of the file called ``path`` in messages.

        No page may take more than ``limit`` bytes.

        Raises:
            RejectedError: ``damaged``, ``unsupported``, ``too_long``.
        """
        self._data, self._path, self._limit = data, path, limit
        with refusing(path, "cannot be read as TIFF"), quiet("tifffile"):
            self._file = TiffFile(io.BytesIO(data))
            self._check_kind()
            self._offsets: list[int] = []
            self._passed_over, cut = 0, False
            for page in map(self._page, self._walk()):
                cut = cut or (page.is_shaped and _TRUNCATED in page.description)
                if page.is_reduced or page.is_mask or page.photometric == PHOTOMETRIC.MASK:
                    self._passed_over += 1
                else:
                    self._offsets.append(page.offset)
            if not self._offsets:
                detail = "each of its pages says that it is a smaller copy or a mask of another"
                raise RejectedError(path, "unsupported", detail)
            self._planes = self._count_planes(self._page(self._offsets[0]), cut)

    @property
    def frames(self) -> int:
        """Pages, or the planes that the only page stands for."""
        return max(len(self._offsets), self._planes)

    def read(self, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
        """Return the bytes that stand for a frame, and the frame.

        Of a file with one page these are the file's bytes, else the frame's own. Behind its
        pages, each channel of a colour TIFF's first page can be had by itself.

        Raises:
            RejectedError: ``damaged``, ``unsupported``, ``no_decoder`` or, before decoding,
                ``too_large``.
        """
        channel = frame - self.frames
        with refusing(self._path, "cannot be decoded"), quiet("tifffile"):
            page = self._page(self._offsets[frame if 0 < frame < len(self._offsets) else 0])
            if channel >= 0 and (channel > 2 or page.photometric == PHOTOMETRIC.PALETTE):
                check_frame(self._path, frame, self.frames)
            check_size(self._path, page.imagewidth, page.imagelength, max_pixels)
            check_page(page, self._path, self._limit)
            plane = frame if self._planes > 1 and channel < 0 else 0
            picture = picture_of(page, self._samples(page, plane), self._path)
            decoded = self._turned(page, picture)
        if channel >= 0:
            if decoded.pixels.shape[2] < 3:
                check_frame(self._path, frame, self.frames)
            decoded = _channel(decoded, channel)
        return (self._data if self.frames == 1 else decoded.pixels.tobytes()), decoded

    def _page(self, offset: int) -> TiffPage:
        self._file.filehandle.seek(offset)
        return TiffPage(self._file, index=0)

    def _check_kind(self) -> None:
        for kind in _SLIDES:
            if getattr(self._file, f"is_{kind}"):
                detail = (
                    f"is a whole slide ({kind}), whose pages are levels and labels; export the "
                    "region that is meant"
                )
                raise RejectedError(self._path, "unsupported", detail)

    def _walk(self) -> Iterator[int]:
        """Yield where each page's directory lies; together they must fit into the file.

        tifffile takes a broken chain for its end, and goes round in one that is a circle.
        """
        layout, spent = self._file.tiff, 0
        position = self._file.pages.first.offset
        for pages in itertools.count():
            if not position:
                return
            if pages == MOST_PAGES:
                detail = f"has more than {MOST_PAGES:,} pages"
                raise RejectedError(self._path, "too_long", detail)
            if position >= len(self._data):
                raise self._damaged(f"a page should lie at byte {position:,}, beyond its end")
            yield position
            (tags,) = struct.unpack_from(layout.tagnoformat, self._data, position)
            end = position + layout.tagnosize + tags * layout.tagsize
            spent += end + layout.offsetsize - position
            if spent > len(self._data):
                raise self._damaged("its pages form a loop, or overlap")
            (position,) = struct.unpack_from(layout.offsetformat, self._data, end)

    def _count_planes(self, first: TiffPage, cut: bool) -> int:
        """Return how many pictures stand behind the only page; else 1.

        ImageJ, MetaMorph and tifffile write large stacks with one directory for all planes;
        ``cut``, tifffile says so of a page.
        """
        file, pages = self._file, len(self._offsets)
        promised = _promised(file, first)
        if pages > 1:
            if promised > pages or cut:
                raise self._damaged("its description promises more pictures than it has pages")
            return 1
        if not (file.is_imagej or file.is_stk or file.is_shaped):
            return 1
        planes = math.prod(file.series[0].shape) // max(1, first.size)
        planes = max(1, planes, promised)
        if planes > 1:
            self._check_planes(first, planes)
        return planes

    def _check_planes(self, page: TiffPage, planes: int) -> None:
        if not page.is_final:
            raise self._damaged(f"promises {planes:,} pictures behind one compressed page")
        room = (len(self._data) - page.dataoffsets[0]) // max(1, page.nbytes)
        if planes > room:
            raise self._damaged(f"promises {planes:,} pictures and has room for {room:,}")

    def _samples(self, page: TiffPage, plane: int) -> NDArray[Any]:
        """Return the stored numbers ``(H, W, samples)`` in this machine's byte order."""
        if self._planes > 1:
            start = page.dataoffsets[0] + plane * page.nbytes
            stored = number_type(page).newbyteorder(self._file.byteorder)
            flat = np.frombuffer(self._data, stored, page.size, start)
            whole = flat.reshape(page.shaped).astype(number_type(page))
        else:
            check_segments(page, self._data, self._path)
            whole = page.asarray(squeeze=False, maxworkers=1)
        separate, _, height, width, together = whole.shape
        return np.moveaxis(whole[:, 0], 0, -1).reshape(height, width, separate * together)

    def _turned(self, page: TiffPage, picture: Picture) -> Decoded:
        orientation, remarks = checked(page.tags.valueof(_ORIENTATION))
        if self._passed_over:
            passed = count(self._passed_over, "smaller copy or mask", "smaller copies or masks")
            detail = f"{passed} of a page"
            remarks += (Remark("further_pictures", detail),)
        indices, alpha = picture.indices, picture.alpha
        return Decoded(
            pixels=turned(picture.pixels, orientation),
            format="TIFF",
            mode=f"{PHOTOMETRIC(page.photometric).name} {page.dtype}",
            bits=page.bitspersample,
            frames=self.frames,
            remarks=(*picture.remarks, *remarks),
            indices=None if indices is None else turned(indices, orientation),
            alpha=None if alpha is None else turned(alpha, orientation),
            lossy=lost_by(page, self._data),
        )

    def _damaged(self, detail: str) -> RejectedError:
        return RejectedError(self._path, "damaged", detail)


def _promised(file: TiffFile, page: TiffPage) -> int:
    """Return how many pictures the description by ImageJ speaks of; 1 where there is none."""
    if not file.is_imagej:
        return 1
    said = {"images": 1, "slices": 1, "frames": 1, "channels": 1} | (file.imagej_metadata or {})
    channels = said["channels"] if page.samplesperpixel == 1 else 1
    return max(int(said["images"]), int(said["slices"]) * int(said["frames"]) * int(channels))


def _channel(decoded: Decoded, channel: int) -> Decoded:
    pixels = np.ascontiguousarray(decoded.pixels[..., channel, None])
    return replace(decoded, pixels=pixels, alpha=None)
