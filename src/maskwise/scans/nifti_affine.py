"""How a NIfTI volume lies: one affine out of ``sform``, ``qform`` and ``pixdim``.

The header says it up to three times. Where it says so twice, voxel sizes and the directions of
the stored axes have to agree, or spacing and left and right would depend on who reads the file.
Forms with different codes (a scanner's coordinates, a template's) may lie elsewhere and be
rotated against each other; forms with the same code may not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from nibabel.nifti1 import Nifti1Header, xform_codes
from nibabel.orientations import aff2axcodes
from nibabel.quaternions import quat2mat
from numpy.typing import NDArray

from maskwise.scans.nifti_header import NiftiHeader
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError

Affine = NDArray[np.float64]
"""``(4, 4)``, voxel to millimetres in RAS+."""

SHEARED = 0.1
"""Degrees off square from which on a stack leans; what float32 rounds is far below."""
_SIZES = 0.01
"""Relative difference of voxel sizes that is none."""
_ANGLE = 1.0
"""Degrees between two directions that are one; beside 45 degrees rounding alone decides which
axis is the nearest."""
_APART = 0.5
"""Of a voxel's smallest side: what lies no farther apart lies in one place."""
_UNIT_QUATERNION = 1e-4
"""By how much the squares of b, c and d may exceed 1, as rounding makes them."""


@dataclass(frozen=True)
class _Forms:
    """What one header holds."""

    header: NiftiHeader
    path: str

    @property
    def fields(self) -> Nifti1Header:
        return self.header.fields

    def code(self, name: str) -> int:
        """Return ``sform_code`` or ``qform_code``; 0 = there is no such form."""
        code = int(self.fields[f"{name}_code"])
        if code not in xform_codes.label:
            said = f"{name}_code is {code}, which the standard does not know"
            raise self.unusable(said, "qform" if name == "sform" else "sform")
        return code

    def sizes(self) -> NDArray[np.float64]:
        """Return ``pixdim`` ``(3,)`` in millimetres; 1 for a third axis that there is not."""
        pixdim = self.fields["pixdim"][1:4].astype(np.float64)
        if int(self.fields["dim"][0]) < 3:
            pixdim[2] = 1.0
        if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
            said = _times(pixdim)
            raise self.unusable(f"pixdim is {said}, where sizes above 0 are meant", "sform")
        sizes: NDArray[np.float64] = pixdim * self.header.unit
        return sizes

    def sform(self) -> Affine:
        affine = np.eye(4)
        affine[:3] = [self.fields[f"srow_{axis}"] for axis in "xyz"]
        affine[:3] *= self.header.unit
        return self._invertible(affine, "sform", "qform")

    def qform(self) -> Affine:
        qfac = float(self.fields["pixdim"][0]) or 1.0  # 0 stands for 1, by the standard
        if qfac not in (-1.0, 1.0):
            said = f"pixdim[0] is {qfac:g}, but has to be 1 or -1 for the qform"
            raise self.unusable(said, "sform")
        affine = np.eye(4)
        affine[:3, :3] = self._rotation() * self.sizes() * [1, 1, qfac]
        offset = [self.fields[f"qoffset_{axis}"] for axis in "xyz"]
        affine[:3, 3] = np.array(offset, np.float64) * self.header.unit
        return self._invertible(affine, "qform", "sform")

    def scaled_sform(self) -> Affine:
        """Return the directions of the sform with the sizes of ``pixdim``."""
        affine = self.sform()
        affine[:3, :3] *= self.sizes() / _lengths(affine)
        return affine

    def unusable(self, what: str, other: str = "") -> RejectedError:
        """Return the refusal, with the option that does without where there is another form."""
        if other and int(self.fields[f"{other}_code"]) > 0:
            what += f"; if its {other} is right, set `reading: {{affine: {other}}}`"
        return RejectedError(self.path, "no_affine", what)

    def differ(self, what: str) -> RejectedError:
        detail = (
            f"says in two ways how it lies: {what}; say which is right with "
            "`reading: {affine: sform}` or `reading: {affine: qform}`"
        )
        return RejectedError(self.path, "contradictory_affine", detail)

    def _rotation(self) -> NDArray[np.float64]:
        parts = np.array([self.fields[f"quatern_{part}"] for part in "bcd"], np.float64)
        squares = float(parts @ parts)
        if not squares <= 1 + _UNIT_QUATERNION:
            said = f"the squares of quatern_b, c and d add up to {squares:.6g}, beyond 1"
            raise self.unusable(f"its qform is not a rotation: {said}", "sform")
        first = np.sqrt(max(0.0, 1 - squares))
        rotation: NDArray[np.float64] = quat2mat((first, *parts))
        return rotation

    def _invertible(self, affine: Affine, name: str, other: str) -> Affine:
        if not np.isfinite(affine).all():
            raise self.unusable(f"its {name} holds numbers that are not finite", other)
        lengths = _lengths(affine)
        if not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise self.unusable(f"its {name} cannot be inverted", other)
        return affine


def affine_of(header: NiftiHeader, path: str, reading: Reading) -> Affine:
    """Return where the volume lies; ``path`` only names it in messages.

    Raises:
        RejectedError: ``no_affine``, or ``contradictory_affine`` where forms differ and
            ``reading`` says not which is right.
    """
    forms = _Forms(header, path)
    if reading.affine != "refuse" and forms.code(reading.affine):
        return forms.sform() if reading.affine == "sform" else forms.qform()
    sform, qform = forms.code("sform"), forms.code("qform")
    if not (sform or qform):
        detail = "its header does not say how the volume lies (sform and qform have the code 0)"
        raise RejectedError(path, "no_affine", detail)
    if not sform:
        return forms.qform()
    if reading.affine == "qform":  # of which this file has the sizes only
        return forms.scaled_sform()
    found = forms.sform()
    for difference in _differences(found, forms):
        raise forms.differ(difference)
    return found


def plane_distances(affine: Affine) -> NDArray[np.float64]:
    """Return ``(3,)``, along each voxel axis: mm between planes of voxels, measured across.

    That is the length of a voxel's side but where the axes are not square to one another.
    """
    distances: NDArray[np.float64] = 1 / np.linalg.norm(np.linalg.inv(affine[:3, :3]), axis=1)
    return distances


def lean(affine: Affine) -> float:
    """Return by how many degrees two voxel axes are off square, at most."""
    axes = affine[:3, :3] / _lengths(affine)
    cosines = [abs(float(axes[:, i] @ axes[:, j])) for i, j in combinations(range(3), 2)]
    return float(np.rad2deg(np.arcsin(min(1.0, max(cosines)))))


def _differences(sform: Affine, forms: _Forms) -> Iterator[str]:
    """Yield in which way the sform contradicts what else the header says."""
    coded = forms.code("qform") > 0
    qform = forms.qform() if coded else None
    lengths, sizes = _lengths(sform), forms.sizes()
    # Of a stack that leans, pixdim says either, by who wrote it.
    said = np.stack([lengths, plane_distances(sform)])
    if not np.isclose(said, sizes, rtol=_SIZES, atol=0).any(axis=0).all():
        others = "qform and pixdim" if coded else "pixdim"
        yield f"sform says {_times(lengths)} mm, {others} {_times(sizes)} mm"
    if qform is None:
        return
    if _angle(sform, qform) > _ANGLE and aff2axcodes(sform) != aff2axcodes(qform):
        axes, others = ("".join(aff2axcodes(form)) for form in (sform, qform))
        yield f"by sform its axes point to {axes}, by qform to {others} (R = right, L = left)"
    code = forms.code("sform")
    apart = _apart(sform, qform, forms.header.shape)
    # A qform cannot lean, so that it lies elsewhere than a sform that does.
    if code == forms.code("qform") and lean(sform) < SHEARED and apart > _APART * sizes.min():
        yield f"sform and qform, of the same code {code}, lie up to {apart:.3g} mm apart"


def _apart(first: Affine, second: Affine, shape: tuple[int, int, int]) -> float:
    """Return how far a corner's two places lie apart, at most."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape))])
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def _angle(first: Affine, second: Affine) -> float:
    """Return the degrees between an axis by the one and by the other, at most."""
    cosines = (first[:3, :3] * second[:3, :3]).sum(axis=0)
    cosines = cosines / _lengths(first) / _lengths(second)
    return float(np.rad2deg(np.arccos(np.clip(cosines.min(), -1, 1))))


def _lengths(affine: Affine) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(affine[:3, :3], axis=0)
    return lengths


def _times(sizes: NDArray[np.float64]) -> str:
    return " x ".join(f"{size:.5g}" for size in sizes)
