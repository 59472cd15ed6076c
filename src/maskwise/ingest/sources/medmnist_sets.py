"""The sets of MedMNIST (Yang et al., Scientific Data 10:41, 2023): what their archives hold.

Names of classes are the published ones, in the order of their numbers.
"""

import re
from dataclasses import dataclass

UNSAID = 28
"""Pixels of a side where the archive's name says none; others are of 64, 128 or 224."""

_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
_FILE = re.compile(r"(?P<name>[a-z]+mnist(3d)?)(_(?P<side>\d+))?\.npz\Z")


@dataclass(frozen=True)
class MedmnistSet:
    """What a set holds; of ``chestmnist``'s classes an image may show several or none."""

    modality: str
    classes: tuple[str, ...]


SETS: dict[str, MedmnistSet] = {
    "pathmnist": MedmnistSet(
        "histology",
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
    ),
    "chestmnist": MedmnistSet(
        "xray",
        (
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
    ),
    "dermamnist": MedmnistSet(
        "dermatoscopy",
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
    ),
    "octmnist": MedmnistSet(
        "oct",
        ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    ),
    "pneumoniamnist": MedmnistSet("xray", ("normal", "pneumonia")),
    "retinamnist": MedmnistSet("fundus", ("0", "1", "2", "3", "4")),
    "breastmnist": MedmnistSet("ultrasound", ("malignant", "normal or benign")),
    "bloodmnist": MedmnistSet(
        "microscopy",
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
    ),
    "tissuemnist": MedmnistSet(
        "microscopy",
        (
            "collecting duct or connecting tubule",
            "distal convoluted tubule",
            "glomerular endothelial cells",
            "interstitial endothelial cells",
            "leukocytes",
            "podocytes",
            "proximal tubule segments",
            "thick ascending limb",
        ),
    ),
    "organamnist": MedmnistSet("ct", _ORGANS),
    "organcmnist": MedmnistSet("ct", _ORGANS),
    "organsmnist": MedmnistSet("ct", _ORGANS),
}
"""The two-dimensional ones, by the names of their archives."""
VOLUMES = frozenset(
    {
        "organmnist3d",
        "nodulemnist3d",
        "adrenalmnist3d",
        "fracturemnist3d",
        "vesselmnist3d",
        "synapsemnist3d",
    }
)
"""Those of volumes, which are not read."""


def named(file: str) -> tuple[str, int] | None:
    """Return set and size that an archive's name says, None where it is no published name."""
    match = _FILE.match(file.lower())
    if match is None or match["name"] not in {*SETS, *VOLUMES}:
        return None
    return match["name"], int(match["side"] or UNSAID)
