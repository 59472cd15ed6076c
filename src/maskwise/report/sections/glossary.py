"""The words of the page."""

from collections.abc import Sequence

from maskwise.report.elements import Section, Terms
from maskwise.report.facts import Facts
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.report.tasks import KNN

_BEFORE = (
    ("source", "One collection of raw scans and the way it is read."),
    (
        "group",
        "Images that must stay together because they show the same patient or are "
        "duplicates. Groups, not images, are counted as independent.",
    ),
    (
        "recipe",
        "One way of training: what the network must do with unlabelled images (objective), "
        "where parts of them are hidden (policy), the network itself (encoder) and how it is "
        "optimised.",
    ),
    ("encoder", "The network that turns a scan into features; it is what leaves the project."),
    (
        "objective",
        "The task without labels: fill in the hidden part, or recognise two views of one "
        "image.",
    ),
    ("policy", "What decides where the mask lies. A policy that learns is called an agent."),
    ("mask", "The hidden cells of an image."),
    ("grid cell", "One square of the grid that masks are made of."),
    ("box", "A rectangle of grid cells hidden together."),
    (
        "Q-map, policy map",
        "What the agent thinks of each place: how badly the network would fill in a box there "
        "(Q), or how much rather it would hide the cell.",
    ),
)
_LIFT = (
    (
        "mask lift",
        "Share of the lesion that is hidden, divided by the share of the image that is "
        "hidden; averaged over images that show a lesion. Below 1 the lesion is spared: at 0.5 "
        "half as much of it is hidden as of the image.",
    ),
    (
        "content lift",
        "Mask lift minus the lift of the same masks laid over images of other groups: how "
        "far the choice depends on the image. 0 = not at all, or not on what goes with "
        "lesions. An untrained agent's random preference gives it too, above or below 0 "
        "depending on the seed.",
    ),
    (
        "uniform, centre",
        "Lift of masks of the same kind put anywhere with equal chance, or in the middle.",
    ),
    (
        "most variance",
        "The box or the cells of an image whose pixels vary most: a rule that needs no "
        "training. An agent that does no better has found nothing that the rule does not see.",
    ),
    (
        "mean map",
        "Lift of the agent's own average map, the same for every image: what it gains by "
        "knowing places alone.",
    ),
    (
        "oracle",
        "Lift of the best mask there is for each image, found with the lesion's outline.",
    ),
)
_POLICY = (
    (
        "position share",
        "Share of the map's variation that is the same in every image; 1 = it knows places "
        "only.",
    ),
    (
        "correlation with variance",
        "Rank correlation between the agent's map and the variance of the pixels in each "
        "place; near 1 = it merely looks for texture.",
    ),
    (
        "correlation with error",
        "Rank correlation between the agent's map and how badly the network really fills in "
        "each place: what the agent is meant to know.",
    ),
    (
        "overlap of two draws",
        "Share of the hidden cells that a second draw for the same image hides too; 1 = "
        "nothing is left to chance.",
    ),
    (
        "entropy",
        "How widely the chosen places are spread: 1 = evenly, 0 = always the same place.",
    ),
    ("top share", "Share of the images in which the commonest place was chosen."),
)
_SCRATCH = (
    (
        "no pre-training",
        "The recipe scratch: the same network, started at random, trained on the labels only.",
    ),
)
_BETWEEN = (
    (
        "seed",
        "One repetition of training: initial weights, order and masks of pre-training, which "
        "labels are drawn, fine-tuning. Which patients train and which test does not vary, "
        "except where the page speaks of folds: there each seed holds out a different part.",
    ),
)
_AFTER = (
    (
        "95 % interval",
        "Where the figure would fall in 95 of 100 repetitions with other seeds and other "
        "test patients of the same kind, as far as drawing them anew can tell. It does not "
        "cover what other training patients would change, nor other seeds where everything "
        "was trained once or twice. It never extends beyond the possible values of the "
        "figure.",
    ),
    (
        "asked beforehand, exploration",
        "At most three comparisons in one metric are written down before a test image is read; "
        "they alone have a p. Everything else is exploration: it may suggest a question, and "
        "the next study may ask it.",
    ),
    (
        "p (Holm)",
        "How surprising the difference would be if there were none, made larger because "
        "several comparisons were asked at once. ≤ where no draw contradicted "
        "it: more draws might give a smaller p.",
    ),
)


def build(facts: Facts) -> Section:
    """Explain them, those of the task among them."""
    own = facts.words.terms
    before = (*_BEFORE, *_LIFT, *_POLICY, *_SCRATCH)
    knn = (KNN,) if "knn" in facts.modes else ()
    terms = (*before, *own["modes"], *knn, *_BETWEEN, *own["metrics"], *_AFTER)
    return _section(terms)


def build_pretraining(facts: PretrainingFacts) -> Section:
    """Explain those of a page without labels; those of lift where any was measured."""
    measured = any(len(facts.lifts(name)) for name in facts.masking)
    seed = (
        "seed",
        "One repetition of training: initial weights, and the order and masks of it.",
    )
    return _section((*_BEFORE, *(_LIFT if measured else ()), *_POLICY, seed))


def _section(terms: Sequence[tuple[str, str]]) -> Section:
    return Section("glossary", "Words used here", [Terms(terms)])
