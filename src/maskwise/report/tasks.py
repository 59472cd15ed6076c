"""What the page says differently from task to task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """One task in print."""

    learns: str
    """What the encoder then learns."""
    modes: Mapping[str, str]
    """In the page's order."""
    judged: str
    """What rests on the test images."""
    pixels: str
    """What is put on the averaged pixels, with an article."""
    artefacts: str
    """From which every figure of the page is computed."""
    metrics: str
    """What to know before reading all metrics."""
    terms: Mapping[str, Sequence[tuple[str, str]]]
    """``modes`` and ``metrics``: the task's own words and what they mean."""


KNN = (
    "nearest-neighbour probe",
    "The encoder is frozen and nothing is trained (k-NN): the labelled training images whose "
    "features are most like an image's vote for what they show.",
)
"""Explained where it was asked for."""
_CALIBRATION = (
    "Scores use the probabilities as the networks gave them. The model's file, and so "
    "`predict`, first divides its logits by a temperature fitted on validation images, so its "
    "calibration error differs; the class that it names is the same. With few test images the "
    "calibration error lies above 0 whatever the network does: “if perfect” is what it would "
    "be on average if every probability were exactly right, so only what lies above that "
    "speaks against the network."
)
_LEFT_OUT = (
    "Distances and false alarms are better when smaller, so that a negative difference is the "
    "better one; all other figures are better when larger. Sensitivity is undefined where an "
    "image shows no lesion, precision where none was called, a distance where one of the two "
    "is missing: “left out” counts these images (or units), each class separately, on average "
    "over repetitions. A network that calls less is measured on fewer images; two recipes' "
    "distances are compared on the images where both have one."
)

DIAGNOSIS = Words(
    learns="the diagnosis",
    modes={
        "full": "full fine-tuning",
        "probe": "linear probe",
        "knn": "nearest-neighbour probe",
    },
    judged="Scores and confusion rest",
    pixels="A logistic regression on",
    artefacts="predictions.parquet, subsets.parquet, history.csv and gallery.npz",
    metrics=_CALIBRATION,
    terms={
        "modes": (
            (
                "linear probe",
                "The encoder is frozen; only a linear classifier on its features is trained.",
            ),
            ("full fine-tuning", "Encoder and classifier are trained together on the labels."),
        ),
        "metrics": (
            (
                "AUROC",
                "Chance that a random image of a class gets a higher probability of it than a "
                "random image of another class: 0.5 = guessing, 1 = perfect. Macro = averaged "
                "over classes.",
            ),
            (
                "balanced accuracy",
                "Share of images called rightly, averaged over classes.",
            ),
            (
                "macro F1",
                "Balance of finding a class and not overcalling it, averaged over classes.",
            ),
            (
                "calibration error",
                "How far stated probabilities lie from observed frequencies, chance included: "
                "few images give even perfect probabilities an error well above 0 (“if "
                "perfect” beside it). At that figure they can be taken at face value; the "
                "farther above, the less.",
            ),
        ),
    },
)
LESION = Words(
    learns="to outline lesions",
    modes={"full": "full fine-tuning", "probe": "frozen encoder"},
    judged="Scores and outlines rest",
    pixels="A decoder on",
    artefacts=(
        "predictions.parquet, subsets.parquet, history.csv and gallery.npz (the outlines drawn "
        "are those of contours.npz beside the models)"
    ),
    metrics=_LEFT_OUT,
    terms={
        "modes": (
            (
                "frozen encoder",
                "The encoder stays as it was pre-trained; only the decoder, which turns its "
                "features into an outline, is trained.",
            ),
            ("full fine-tuning", "Encoder and decoder are trained together on the outlines."),
        ),
        "metrics": (
            (
                "Dice",
                "How far two outlines agree: twice what they share, divided by the sum of "
                "their sizes. 1 = the same, 0 = nothing in common.",
            ),
            ("IoU", "Intersection over union: what two outlines share of what either holds."),
            ("sensitivity", "Share of the true lesion's pixels that were called lesion."),
            ("precision", "Share of the pixels called lesion that truly are."),
            (
                "Dice where there is a lesion",
                "The same of those images alone that show a lesion: images that show none "
                "count for nothing.",
            ),
            (
                "false alarms",
                "Share of the images without a lesion in which one was outlined; 0 = none.",
            ),
            (
                "95 % Hausdorff distance",
                "How far the edges of two outlines lie apart at the worst, the worst 5 % of "
                "places left out; 0 = the same.",
            ),
            (
                "average surface distance",
                "How far the edges of two outlines lie apart on average.",
            ),
            (
                "of a volume, of a group",
                "The pixels of all images of one volume, or of one group, counted together.",
            ),
        ),
    },
)
MULTILABEL = Words(
    learns="which labels an image shows",
    modes=DIAGNOSIS.modes,
    judged="Scores rest",
    pixels=DIAGNOSIS.pixels,
    artefacts=DIAGNOSIS.artefacts,
    metrics=(
        "All figures are better when larger. An image counts for every label that it shows, "
        "and one that was not rated counts for nothing. Figures of each label by itself stand "
        "under “Label by label”."
    ),
    terms={
        "modes": (
            (
                "linear probe",
                "The encoder is frozen; on its features one linear classifier per label is "
                "trained.",
            ),
            ("full fine-tuning", "Encoder and classifiers are trained together on the labels."),
        ),
        "metrics": (
            (
                "label",
                "What an image may show, beside others: of a lesion with two kinds of margin "
                "both labels are true.",
            ),
            (
                "AUROC",
                "Chance that a random image which shows the label gets a higher probability of "
                "it than a random one which does not: 0.5 = guessing, 1 = perfect. Macro = "
                "averaged over labels; micro = of all pairs of an image and a label together.",
            ),
            (
                "average precision",
                "Share of images that truly show the label among those ranked highest, "
                "averaged over all of them: guessing gives the label's share, 1 = perfect.",
            ),
            (
                "macro F1",
                "Balance of finding a label and not overcalling it, at the threshold that "
                "validation images chose, averaged over labels.",
            ),
        ),
    },
)
WORDS: Mapping[str, Words] = {
    "diagnosis": DIAGNOSIS,
    "lesion": LESION,
    "multilabel": MULTILABEL,
}
