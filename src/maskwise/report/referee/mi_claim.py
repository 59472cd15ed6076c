"""The rows of the MI-CLAIM checklist, by the part of it, in our own words."""

from maskwise.report.referee.items import Checklist, Item

MI_CLAIM = Checklist(
    anchor="mi-claim",
    title="MI-CLAIM",
    after=(
        "Norgeot B and others, Minimum information about clinical artificial intelligence "
        "modeling: the MI-CLAIM checklist, Nature Medicine 2020; 26: 1320 to 1324. Its rows "
        "have no numbers of their own, so they stand by its parts"
    ),
    items=(
        Item("Part 1", "The clinical problem.", yours=("purpose",)),
        Item("Part 1", "The research question.", ("primary",), ("objective",)),
        Item(
            "Part 1",
            "Who trained and who tested: characteristics of both.",
            ("partitions",),
            ("characteristics",),
        ),
        Item(
            "Part 1", "That both are like patients in practice.", yours=("representativeness",)
        ),
        Item("Part 1", "The baseline that it is compared with.", ("baseline",)),
        Item(
            "Parts 2, 3",
            "Where the data are from, and in which format.",
            ("data",),
            ("setting",),
        ),
        Item("Parts 2, 3", "What was done to the data before the network.", ("preprocessing",)),
        Item("Parts 2, 3", "That training and test are independent.", ("disjoint",)),
        Item(
            "Parts 2, 3",
            "Which networks were tried, and how the best was chosen.",
            ("model", "selection"),
        ),
        Item("Parts 2, 3", "Whether the input is structured or not.", ("predictors",)),
        Item(
            "Part 4", "The main measure of performance, and why.", ("metrics",), ("objective",)
        ),
        Item(
            "Part 4",
            "The main measure of use in the clinic, and why.",
            ("operating", "benefit"),
            ("clinical_use",),
        ),
        Item(
            "Part 4",
            "How it compares with the baseline, with its significance.",
            ("baseline", "significance"),
        ),
        Item("Part 5", "A first examination of the network.", ("errors",)),
        Item("Part 5", "A second examination of the network.", ("subgroups",)),
        Item("Part 5", "What these say about its performance.", yours=("interpretation",)),
        Item("Part 5", "How far single cases can be interpreted.", yours=("interpretation",)),
        Item(
            "Part 5",
            "How it would bear other data than these.",
            ("subgroups",),
            ("robustness",),
        ),
        Item(
            "Part 6",
            "How openly the way from data to result is shared (tier 1 to 4).",
            ("licence",),
            ("code_sharing",),
        ),
    ),
    rows="rows",
)
