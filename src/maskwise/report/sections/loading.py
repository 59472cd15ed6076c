"""How to load an encoder in a script, and what to do with it next."""

from maskwise.report.elements import Commands, Element, Paragraph, Section
from maskwise.report.inputs import EncoderFile
from maskwise.report.pretraining_facts import PretrainingFacts


def build(facts: PretrainingFacts) -> Section:
    """Say what the lines need, what they return, and where labels would come in."""
    title = "How to load an encoder"
    first = next(iter(facts.inputs.encoders.values()), None)
    if first is None:
        return Section("loading", title, [Paragraph("No encoder was written.")])
    elements: list[Element] = [
        Paragraph(
            "An encoder is one file: weights, and how images are prepared for them. Loading it "
            "needs the package maskwise without its extras (torch, NumPy and safetensors); "
            "`maskwise.read` needs the extra `pipeline`, and any array of your own will do in "
            "its place."
        ),
        Commands(_folder(first)),
        Paragraph(
            f"The network has {first.parameters:,} parameters. `encoder(images)` gives the "
            "feature maps of all stages, finest first, for a network of your own."
        ),
        Paragraph(
            "With labels for some of these scans: name them in the source's file, and take "
            "`fractions: []` away. With labelled scans of another source: the recipe "
            "`pretrained_elsewhere` begins with an encoder of this one (docs/how-to.md, An "
            "encoder from another source)."
        ),
    ]
    return Section("loading", title, elements)


def _folder(file: EncoderFile) -> list[str]:
    """Return the lines that turn a folder of scans into features."""
    return [
        "from pathlib import Path",
        "",
        "import maskwise",
        "import torch",
        "",
        f'encoder = maskwise.load_encoder("{file.path}")',
        'scans = [maskwise.read(path) for path in sorted(Path("path/to/scans").glob("*.png"))]',
        "with torch.inference_mode():",
        "    images = torch.cat([encoder.prepare(scan) for scan in scans])",
        f"    features = encoder.pooled(images)  # one row of {file.width} numbers per scan",
    ]


def snippet(path: str) -> list[str]:
    """Return the lines of Python that load the encoder in ``path`` and use it."""
    return [
        "import maskwise",
        "",
        f'encoder = maskwise.load_encoder("{path}")',
        'images = encoder.prepare(maskwise.read("path/to/scan.png"))  # (1, C, H, W)',
        "features = encoder.pooled(images)  # (1, encoder.width)",
    ]
