"""BUSI, breast ultrasound in its published layout (Al-Dhabyani et al., Data in Brief 28, 2020).

``Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png``, beside it
``benign (1)_mask.png`` and, for further lesions, ``benign (1)_mask_1.png``. No patient names.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from maskwise.errors import hint
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance, build_listing
from maskwise.scans.folder import find_images, pair_masks
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject

CLASSES = ("benign", "malignant", "normal")


@dataclass(frozen=True)
class BusiConfig:
    """``raw`` is the folder above the three class folders, or the one above that."""

    duplicate_distance: Distance = 4
    """Bits, 0 to 16; at 4 the hash finds all of the known duplicates, and pairs hardly rise
    beyond 6."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    @property
    def modality(self) -> str:
        return "ultrasound"

    def listing(self, raw: Path) -> Listing:
        files, rejects = find_images(raw)
        images, orphans = pair_masks(files, "_mask")
        rows = []
        for path, masks in images.items():
            label = PurePosixPath(path).parent.name
            if label not in CLASSES:
                detail = f"lies in the folder {label!r}; {hint(label, CLASSES)}"
                rejects.append(Reject(path, "unknown_label", detail))
            elif not masks:
                name = f"{PurePosixPath(path).stem}_mask.png"
                rejects.append(Reject(path, "missing_mask", f"{name!r} is not beside it"))
            else:
                rows.append({"path": path, "masks": masks, "label_diagnosis": label})
        return build_listing(rows, [*rejects, *orphans])
