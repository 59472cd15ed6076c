"""The 27 items of TRIPOD+AI with their 52 parts, in our own words."""

from maskwise.report.referee.items import Checklist, Item

TRIPOD = Checklist(
    anchor="tripod",
    title="TRIPOD+AI",
    after=(
        "Collins GS and others, TRIPOD+AI statement: updated guidance for reporting clinical "
        "prediction models that use regression or machine learning methods, BMJ 2024; 385: "
        "e078378"
    ),
    items=(
        Item(
            "1",
            "The title names a prediction model, its patients and its outcome.",
            manuscript=True,
        ),
        Item("2", "An abstract after TRIPOD+AI for Abstracts.", manuscript=True),
        Item("3a", "Why such a model, and what there is already.", yours=("purpose",)),
        Item("3b", "For whom, used by whom, at which point of care.", yours=("purpose",)),
        Item("3c", "Known inequalities between groups of patients.", yours=("inequalities",)),
        Item(
            "4",
            "Aims; whether a model is developed, evaluated, or both.",
            ("primary",),
            ("objective",),
        ),
        Item(
            "5a",
            "Sources of the data, why these, how representative.",
            ("data",),
            ("setting", "representativeness"),
        ),
        Item("5b", "When the data were collected.", yours=("dates",)),
        Item("6a", "Setting, number and place of centres.", yours=("setting",)),
        Item("6b", "Who was eligible.", ("rejects",), ("eligibility",)),
        Item("6c", "Treatments, and how they were dealt with.", yours=("treatments",)),
        Item(
            "7",
            "Preparation and quality checks of the data, alike in all groups.",
            ("preprocessing", "rejects"),
            ("missing_data",),
        ),
        Item(
            "8a",
            "What is predicted, and how and when it was assessed.",
            ("classes",),
            ("reference_standard", "reference_rationale"),
        ),
        Item("8b", "Who assessed it, where that needs judgement.", yours=("annotators",)),
        Item("8c", "What assessors were blind to.", yours=("blinding",)),
        Item("9a", "Which predictors were chosen, and why.", ("predictors",)),
        Item(
            "9b",
            "What each predictor is, and how it is measured.",
            ("predictors",),
            ("acquisition",),
        ),
        Item(
            "9c", "Who assessed predictors, where that needs judgement.", yours=("acquisition",)
        ),
        Item("10", "How the sample size came about.", ("numbers",), ("sample_size",)),
        Item("11", "What became of missing data.", ("rejects",), ("missing_data",)),
        Item(
            "12a",
            "Which data developed the model and which evaluated it.",
            ("partitions", "disjoint"),
        ),
        Item("12b", "How predictors entered the model.", ("preprocessing",)),
        Item(
            "12c",
            "The model, why this one, how it was built, tuned and validated.",
            ("model", "training", "selection"),
        ),
        Item("12d", "How differences between centres were looked at.", yours=("centres",)),
        Item(
            "12e", "Measures and plots of performance.", ("metrics", "calibration", "benefit")
        ),
        Item("12f", "Whether the model was updated after evaluation.", ("recalibration",)),
        Item("12g", "How predictions were calculated for evaluation.", ("output",)),
        Item("13", "Imbalance of classes, and what was done about it.", ("imbalance",)),
        Item("14", "What was done about fairness.", ("subgroups",), ("fairness",)),
        Item(
            "15",
            "What the model gives out, and how thresholds came about.",
            ("output", "operating"),
        ),
        Item(
            "16",
            "How the evaluation's data differ from the development's.",
            ("internal",),
            ("external_test",),
        ),
        Item("17", "Ethical approval and consent.", yours=("ethics",)),
        Item("18a", "Funding and the role of its givers.", yours=("funding",)),
        Item("18b", "Conflicts of interest.", yours=("conflicts",)),
        Item("18c", "Where the protocol is.", ("primary",), ("protocol",)),
        Item("18d", "Registration.", yours=("registration",)),
        Item("18e", "Whether data are shared.", yours=("data_sharing",)),
        Item("18f", "Whether code is shared.", ("licence",), ("code_sharing",)),
        Item("19", "How patients and the public took part.", yours=("involvement",)),
        Item(
            "20a",
            "The way of participants through the study, with and without the outcome.",
            ("numbers", "rejects"),
            ("eligibility",),
        ),
        Item(
            "20b",
            "Who the participants are, also by centre.",
            ("numbers",),
            ("characteristics",),
        ),
        Item(
            "20c",
            "How development and evaluation compare in what predicts.",
            ("partitions",),
            ("characteristics",),
        ),
        Item(
            "21",
            "How many participants and outcomes each analysis has.",
            ("numbers", "classes"),
        ),
        Item(
            "22",
            "The model in full, so that others can use it.",
            ("specification",),
            ("code_sharing",),
        ),
        Item(
            "23a",
            "Performance with intervals, also in important subgroups.",
            ("performance", "operating", "subgroups"),
        ),
        Item("23b", "How performance differs between centres.", yours=("centres",)),
        Item("24", "Results of updating the model.", ("recalibration",)),
        Item("25", "What the results mean, fairness included.", yours=("interpretation",)),
        Item(
            "26",
            "Limitations, and what they do to the results.",
            ("cautions",),
            ("limitations",),
        ),
        Item(
            "27a",
            "What happens to poor or missing input when it is used.",
            ("refusals",),
            ("clinical_use",),
        ),
        Item(
            "27b",
            "Whether users take part, and what they must be able to do.",
            yours=("clinical_use",),
        ),
        Item("27c", "Next steps of research.", yours=("next_steps",)),
    ),
    rows="items and parts of items",
)
