"""The 44 items of CLAIM, 2024 update, in our own words."""

from maskwise.report.referee.items import Checklist, Item

CLAIM = Checklist(
    anchor="claim",
    title="CLAIM 2024",
    after=(
        "Tejani AS and others, Checklist for Artificial Intelligence in Medical Imaging "
        "(CLAIM): 2024 Update, Radiology: Artificial Intelligence 2024; 6(4): e240300"
    ),
    items=(
        Item("1", "The title says that this is about AI, and of which kind.", manuscript=True),
        Item("2", "An abstract with design, methods, results, conclusions.", manuscript=True),
        Item("3", "Background, intended use and role of the network.", yours=("purpose",)),
        Item("4", "Aims and hypotheses.", ("primary",), ("objective",)),
        Item("5", "Prospective or retrospective.", yours=("design",)),
        Item("6", "Goal of the study, such as feasibility or development.", yours=("design",)),
        Item("7", "Where the data are from.", ("data",), ("setting", "dates")),
        Item("8", "Who was included and who was not.", ("rejects",), ("eligibility",)),
        Item("9", "What was done to the images before a network saw them.", ("preprocessing",)),
        Item("10", "Which part of the data was used, and how it was selected.", ("subsets",)),
        Item("11", "How identities were removed.", ("identities",), ("deidentification",)),
        Item("12", "What became of missing data.", ("rejects",), ("missing_data",)),
        Item("13", "How the images were acquired.", yours=("acquisition",)),
        Item("14", "What the reference standard is.", ("classes",), ("reference_standard",)),
        Item("15", "Why this reference standard.", yours=("reference_rationale",)),
        Item("16", "Who made the reference annotations.", yours=("annotators",)),
        Item("17", "How the test images were annotated.", yours=("annotators", "blinding")),
        Item("18", "How far annotators agree.", ("duplicates",), ("agreement",)),
        Item("19", "How images were assigned to the parts of the split.", ("partitions",)),
        Item("20", "At which level the parts are apart.", ("disjoint",)),
        Item("21", "How many test patients were intended.", ("numbers",), ("sample_size",)),
        Item("22", "The network, in detail.", ("model",)),
        Item("23", "Software and versions.", ("software",)),
        Item("24", "How weights were initialised.", ("initialisation",)),
        Item("25", "How it was trained.", ("training",)),
        Item("26", "How the final network was selected.", ("selection",)),
        Item("27", "Whether networks were combined.", ("ensembles",)),
        Item("28", "The measures of performance.", ("metrics",)),
        Item("29", "Significance and uncertainty.", ("uncertainty",)),
        Item("30", "Robustness, or what changes the result.", ("subgroups",), ("robustness",)),
        Item(
            "31",
            "How answers can be explained or interpreted.",
            ("errors",),
            ("interpretation",),
        ),
        Item("32", "Evaluation on internal data.", ("internal",)),
        Item("33", "Test on external data.", yours=("external_test",)),
        Item("34", "Registration as a clinical trial.", yours=("registration",)),
        Item(
            "35",
            "How many were included and excluded, and why.",
            ("numbers", "rejects"),
            ("eligibility",),
        ),
        Item(
            "36", "Who the patients are, in each part.", ("partitions",), ("characteristics",)
        ),
        Item("37", "Performance with its uncertainty.", ("performance",)),
        Item("38", "Diagnostic accuracy and its precision.", ("operating",)),
        Item("39", "What goes wrong, and where.", ("errors", "confusion"), ("interpretation",)),
        Item("40", "Limitations.", ("cautions",), ("limitations",)),
        Item("41", "What follows for practice.", ("benefit",), ("clinical_use",)),
        Item("42", "Where the protocol or further details are.", ("methods",), ("protocol",)),
        Item(
            "43",
            "Whether software, networks, data can be had.",
            ("licence",),
            ("code_sharing", "data_sharing"),
        ),
        Item("44", "Funding, and what its givers had a say in.", yours=("funding",)),
    ),
)
