"""A replicate's model in the form of a README of Hugging Face: YAML, and then prose."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from maskwise.artefacts.labels import LABEL
from maskwise.artefacts.splits import for_seed
from maskwise.report.cards.facts import CardInputs, ModelFiles, unsaid, without_paths
from maskwise.report.formatting import NO_BREAK, measured, with_interval
from maskwise.report.inputs import Run
from maskwise.report.scores import in_print
from maskwise.wording import count

_PIPELINES = {"lesion": "image-segmentation"}
_NOT_A_DEVICE = (
    "It is a research model and no medical device. Nobody has shown that it is safe or useful "
    "for any patient, and what it was tested on is below."
)


def model_card(inputs: CardInputs, run: Run) -> str:
    """Return the text of ``model_card.md`` of one replicate, ending with a line break."""
    front = yaml.safe_dump(_front(inputs, run), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{front}---\n\n" + "\n\n".join(_sections(inputs, run)) + "\n"


def _front(inputs: CardInputs, run: Run) -> dict[str, Any]:
    files = inputs.files[run]
    task = _task(files)
    objective = dict(inputs.recipes[run[0]].get("objective") or {}).get("name", "none")
    tags = ["medical-imaging", str(files.metadata["architecture"])]
    tags += [] if objective == "none" else ["self-supervised", str(objective)]
    tags += [str(files.metadata["preparation"]["modality"])]
    front: dict[str, Any] = {
        "library_name": "maskwise",
        # Whose it is, and so whether it may be passed on, is not for a program to say.
        "license": "unknown",
        "pipeline_tag": _pipeline(task),
        "tags": tags,
    }
    if results := list(_results(inputs, run, task)):
        front["model-index"] = [{"name": _name(inputs, run), "results": results}]
    return front


def _pipeline(task: str | None) -> str:
    if task is None:
        return "image-feature-extraction"
    return _PIPELINES.get(task, "image-classification")


def _name(inputs: CardInputs, run: Run) -> str:
    return f"{inputs.source}-{run[0]}-s{run[1]}"


def _task(files: ModelFiles) -> str | None:
    return None if files.best is None else str(files.best["task"])


def _results(inputs: CardInputs, run: Run, task: str | None) -> Iterator[dict[str, Any]]:
    """Yield the leading metric of the whole label set, as the Hub's model-index has it."""
    if inputs.scores is None or task is None:
        return
    leading = str(inputs.scores["leading"])
    for mode, fractions in sorted(_scores(inputs, run).items()):
        found = fractions.get("1.0", {}).get(leading)
        if found is None or found.get("value") is None:
            continue
        seeds = count(int(inputs.scores["n_seeds"]), "seed")
        yield {
            "task": {"type": _pipeline(task), "name": task},
            "dataset": {"name": inputs.source, "type": inputs.source, "split": "test"},
            "metrics": [
                {
                    "type": leading,
                    "value": found["value"],
                    "name": f"{in_print(leading, inputs.scores)}, {mode}, mean of {seeds}",
                }
            ],
        }


def _scores(inputs: CardInputs, run: Run) -> Mapping[str, Any]:
    found: Mapping[str, Any] = dict(inputs.scores or {}).get("scores", {}).get(run[0], {})
    return found


def _sections(inputs: CardInputs, run: Run) -> Iterator[str]:
    files = inputs.files[run]
    title = inputs.titles.get(run[0], run[0])
    yield f"# {_name(inputs, run)}"
    yield _what(inputs, run, title)
    yield f"## What it is for\n\n{_NOT_A_DEVICE} {_to_say(inputs)}"
    yield f"## How to use it\n\n{_use(files)}"
    yield f"## What it was trained on\n\n{_data(inputs, run)}"
    yield f"## How it was trained\n\n{_training(inputs, run)}"
    if inputs.scores is not None:
        yield f"## How well it did\n\n{_evaluation(inputs, run)}"
    yield f"## What to distrust\n\n{_distrust(inputs, files)}"
    yield f"## Files\n\n{_files(files)}"


def _what(inputs: CardInputs, run: Run, title: str) -> str:
    files, seen = inputs.files[run], inputs.files[run].metadata["preparation"]
    best = files.best
    encoder = (
        f"An encoder ({files.metadata['architecture']}, {files.parameters:,} parameters, "
        f"{files.width:,} features per image), recipe {run[0]} ({title}), seed {run[1]}"
    )
    if best is None:
        learnt = "; nothing was fine-tuned."
    else:
        named = ", ".join(map(str, best["classes"]))
        how = "its weights frozen" if best["mode"] == "probe" else "as a whole"
        learnt = (
            f", fine-tuned {how} on {count(int(best['images']), 'image')} with labels for the "
            f"task {best['task']}: {named}."
        )
    return (
        f"{encoder}{learnt} It sees images of {seen['height']} x {seen['width']} pixels and "
        f"{count(int(seen['channels']), 'channel')} ({seen['modality']}), which its file's own "
        "preparation makes of a scan."
    )


def _to_say(inputs: CardInputs) -> str:
    missing = unsaid(inputs.said)
    end = (
        f" Of the data nobody has said {', '.join(missing)}; `report.cards` takes it."
        if missing
        else ""
    )
    return (
        "Who should use it, for what and under which licence is for whoever publishes it to "
        f"write here.{end}"
    )


def _use(files: ModelFiles) -> str:
    loads = "load_encoder" if files.best is None else "load_model"
    file = "encoder.safetensors" if files.best is None else "best.safetensors"
    last = {
        None: "features = model.pooled(images)  # (1, width)",
        "lesion": "outlines = model.outline(images)  # (1, H, W), 0 = background",
    }.get(_task(files), "probabilities = model.probabilities(images)  # calibrated")
    return (
        "```python\nimport maskwise\nimport torch\n\n"
        f'model = maskwise.{loads}("{file}")\n'
        'images = model.prepare(maskwise.read("a_scan.png"))\n'
        f"with torch.inference_mode():\n    {last}\n```"
    )


def _data(inputs: CardInputs, run: Run) -> str:
    splits = for_seed(inputs.splits, run[1])
    joined = splits.merge(inputs.manifest[["image_id", *inputs.labels]], on="image_id")
    parts = [part for part in ("train", "validation", "test") if part in set(splits["split"])]
    lines = ["| part | images | groups |", "| --- | --- | --- |"]
    for part in parts:
        rows = splits[splits["split"] == part]
        lines.append(f"| {part} | {len(rows):,} | {rows['group'].nunique():,} |")
    for column in inputs.labels:
        name = column.removeprefix(LABEL)
        lines += ["", f"Images by {name}:", ""]
        lines += [f"| {_cell(name)} | {' | '.join(parts)} |", f"| --- |{' --- |' * len(parts)}"]
        for label in sorted(joined[column].dropna().unique(), key=str):
            counts = [
                f"{int(((joined[column] == label) & (joined['split'] == part)).sum()):,}"
                for part in parts
            ]
            lines.append(f"| {_cell(label)} | {' | '.join(counts)} |")
    table = "\n".join(lines)
    return (
        f"The source {inputs.source}; `data_card.json`, two folders up, describes it in "
        "Croissant's form. A group is a patient, or images that are duplicates; no split that "
        f"Maskwise makes divides a group.\n\n{table}"
    )


def _cell(text: object) -> str:
    """Return text as a cell of a table, which a bar or a line break would end."""
    return " ".join(str(text).split()).replace("|", "\\|")


def _training(inputs: CardInputs, run: Run) -> str:
    shown = {
        "recipe": inputs.recipes[run[0]],
        **{
            stage: inputs.settings[stage]
            for stage in ("preprocess", "pretrain", "finetune")
            if inputs.settings.get(stage)
        },
    }
    block = yaml.safe_dump(without_paths(shown), sort_keys=False, allow_unicode=True, width=100)
    metadata = inputs.files[run].metadata
    begun = metadata.get("weights")
    weights = (
        "" if begun is None else f" It began with weights: {_origin(begun)}, and learnt on."
    )
    return (
        f"With Maskwise {metadata['version']}, from the options below; the hash of the "
        f"prepared images begins with {str(metadata['data_hash'])[:12]}.{weights}\n\n"
        f"```yaml\n{block}```"
    )


def _origin(begun: Mapping[str, Any]) -> str:
    # The name of a file may be a person's, with a folder before it or without.
    name = begun["name"] if begun.get("package") else f"a file, SHA-256 {begun['sha256'][:12]}…"
    licence = f", licence {begun['licence']}" if begun.get("licence") else ""
    return f"{name} ({without_paths(str(begun['origin']))}{licence})"


def _evaluation(inputs: CardInputs, run: Run) -> str:
    scores = dict(inputs.scores or {})
    lines = ["| mode | share of the labels | metric | value and 95 % interval |"]
    lines.append("| --- | --- | --- | --- |")
    for mode, fractions in sorted(_scores(inputs, run).items()):
        for fraction in sorted(fractions, key=float, reverse=True):
            for metric, found in sorted(fractions[fraction].items()):
                told = measured(found).replace(NO_BREAK, " ")
                name = _cell(in_print(metric, scores))
                share = f"{100 * float(fraction):g} %"
                lines.append(f"| {mode} | {share} | {name} | {told} |")
    table = "\n".join(lines)
    return (
        f"On {count(int(scores['n_images']), 'test image')} in "
        f"{count(int(scores['n_groups']), 'group')}, over "
        f"{count(int(scores['n_seeds']), 'seed')} of this recipe ({scores['covers']}). It was "
        "tested on data of one source; subgroups, where they were asked for, stand on the page "
        f"for referees.\n\n{table}"
    )


def _distrust(inputs: CardInputs, files: ModelFiles) -> str:
    said = [*map(str, dict(inputs.scores or {}).get("notes", ()))]
    summary = inputs.data_summary
    for label, found in sorted(dict(summary.get("file_facts_audit") or {}).items()):
        if found.get("auroc") is not None:
            told = with_interval(found["auroc"], found.get("low"), found.get("high"))
            said.append(
                f"Facts about the files alone, without a look at any pixel, tell {label} with "
                f"an AUROC of {told.replace(NO_BREAK, ' ')}; 0.5 would be chance."
            )
    pairs = dict(dict(summary.get("duplicates") or {}).get("pairs_with_other_labels") or {})
    for label, number in sorted(pairs.items()):
        if number:
            said.append(
                f"{count(int(number), 'pair')} of near-duplicates differ in the label {label}."
            )
    leaks = int(dict(summary.get("official_split_leaks") or {}).get("groups") or 0)
    if leaks:
        said.append(f"The official split divides {count(leaks, 'group')}: it leaks.")
    if inputs.generated:
        said.append("The images are generated, and say nothing about any disease.")
    if files.metadata.get("transductive"):
        said.append("Test images, without their labels, took part in pre-training.")
    if files.metadata.get("told_lesions"):
        said.append("Outlines of lesions decided what its views hid: it is a ceiling.")
    return "\n".join(f"- {one}" for one in said) or "Nothing was found, which proves nothing."


def _files(files: ModelFiles) -> str:
    lines = ["| file | SHA-256 |", "| --- | --- |"]
    return "\n".join(
        [*lines, *(f"| {name} | `{value}` |" for name, value in sorted(files.hashes.items()))]
    )
