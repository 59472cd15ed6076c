"""Why a file or a row of a table is not taken; light, for every worker process imports it."""

from typing import NamedTuple

from maskwise.errors import UserError

REASONS = {
    "other_file": "neither the suffix nor the content of an image, and no table names it",
    "not_an_image": "by suffix or table an image, but of a content that is not read here",
    "empty": "a file of 0 bytes",
    "damaged": "the header is an image's, but the pixels cannot be decoded (cut off, corrupt)",
    "crashed": "reading it ended the reading process, or failed in an unexpected way",
    "too_slow": "reading it took longer than seconds_per_file allows",
    "too_large": "more pixels or bytes than max_pixels allows; found before decoding",
    "too_long": "more pages or voxels than are ever read, or than the disk has room for",
    "unreadable": "the operating system refuses to open it (permission, device error)",
    "not_a_file": "a pipe, socket, device or folder where a file should be; never opened",
    "link": "a link that leads out of the raw folder, to a folder, or nowhere; never followed",
    "bad_name": "the file's name is not valid UTF-8",
    "missing_file": "a row of the table names a file that does not exist",
    "missing_label": "a file that no row of the table and no class folder labels",
    "unknown_label": "a label, or a class folder, that the source does not know",
    "unknown_split": "a split other than train, validation, test",
    "repeated_row": "the table names the file again, with the same content",
    "contradictory_rows": "the table names the file several times, with different content",
    "missing_mask": "the mask that layout or table promises does not exist",
    "damaged_mask": "a mask is there but cannot be decoded",
    "mask_size": "the size of a mask differs from its image's",
    "mask_without_image": "a mask whose image does not exist",
    "no_pixels": "a DICOM object that holds no image (a report, a plan, an index)",
    "not_a_scan": "a DICOM object whose pixels are not an image (segmentation, dose, map)",
    "localizer": "a DICOM image that only serves to plan others, by its own account",
    "no_decoder": "pixels compressed in a way for which no decoder is installed",
    "unsupported": "an image of a kind that is not read here, named in the detail",
    "no_transfer_syntax": "a DICOM file that does not say how it is to be read",
    "unreadable_element": "an element of a DICOM header is present but makes no sense",
    "no_affine": "a volume whose header does not say how it lies in the patient",
    "contradictory_affine": "a volume's header says in two ways how it lies, and they differ",
    "dimensions": "a file holds more or fewer volumes than are meant (4-D where 3-D is)",
    "mask_geometry": "a mask's volume has another place or shape than its image's",
    "fractional_mask": "a mask holds numbers that are not whole, or NaN",
    "unknown_mask_label": "a mask's volume holds a number that the source does not name",
    "empty_mask": "the mask of a labelled image or volume outlines nothing at all",
    "not_a_mask": "a file that should be a mask is none: it shows many grey levels",
    "shared_mask": "two lesions of one film name the same mask, so that neither is known",
    "no_breast": "a film on which nothing stands out as a breast",
    "several_series": "a folder holds two DICOM series, of which one at least is a volume",
    "mixed_series": "files of two modalities call themselves one DICOM series",
    "not_chosen": "a DICOM series, or a film, that the options of the source leave out",
    "repeated_slice": "a DICOM series shows one place of the patient twice",
    "missing_slice": "a DICOM series lacks slices",
    "uneven_slices": "slices of a DICOM series lie unevenly, not parallel, or differ in size",
    "second_copy": "the folder holds the same data again; the first copy is taken",
    "unknown_place": "an image where the published layout has none, or with another name",
}
"""The closed list, each explained in a line; ``docs/sources.md`` says what to do."""

UNCOUNTED = frozenset(
    {
        "other_file",
        "repeated_row",
        "no_pixels",
        "not_a_scan",
        "localizer",
        "second_copy",
        "not_chosen",
    }
)
"""Reasons that cost no image, so that ``max_reject_share`` leaves them out."""

AS_A_MASK = {
    "missing_file": "missing_mask",
    "mask_size": "mask_size",
    "fractional_mask": "fractional_mask",
    "no_affine": "mask_geometry",
    "contradictory_affine": "mask_geometry",
    "dimensions": "mask_geometry",
}
"""Why a mask cannot be taken -> why its image is not; any other reason: ``damaged_mask``."""


class Reject(NamedTuple):
    """One row: ``path`` relative to the raw folder, ``reason`` out of ``REASONS``."""

    path: str
    reason: str
    detail: str


class RejectedError(UserError):
    """A file cannot be taken; ``reject`` is its row."""

    def __init__(self, path: str, reason: str, detail: str) -> None:
        self.reject = Reject(path, reason, detail)
        super().__init__(f"{path}: {detail} ({reason})")

    def __reduce__(self) -> tuple[type["RejectedError"], Reject]:
        return RejectedError, self.reject  # it travels from a worker process
