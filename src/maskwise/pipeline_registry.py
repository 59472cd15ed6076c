"""What `kedro run --pipelines` knows: a pipeline per configured source, and those of no source.

Registered one by one: Kedro's `find_pipelines` imports only the folder that is named like the
pipeline, and no folder is named like a source.
"""

import warnings
from pathlib import Path

from kedro.pipeline import Pipeline

from maskwise.experiment import read_studies
from maskwise.pipelines import (
    embed,
    evaluate,
    finetune,
    generate,
    ingest,
    predict,
    preprocess,
    pretrain,
    report,
    select,
    tune,
)
from maskwise.replicates import Study
from maskwise.session import telling

PROJECT = Path(__file__).parents[2]
"""The folder of ``conf`` and ``data``: in DVC's temporary copies it is the copy."""


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines by name; the first source of the experiment is the default."""
    with telling():
        studies = read_studies(PROJECT)
    with warnings.catch_warnings():
        # Kedro would rather keep dots for namespaces; here they separate a replicate's names.
        warnings.filterwarnings("ignore", message=".*dataset names contain '.' characters")
        sources = {name: source_pipeline(study, PROJECT) for name, study in studies.items()}
        default = sources[next(iter(studies))]
        return {
            "__default__": default,
            **sources,
            "predict": predict.create_pipeline(),
            "embed": embed.create_pipeline(),
            "select": select.create_pipeline(),
            "tune": tune.create_pipeline(studies, PROJECT),
        }


def source_pipeline(study: Study, project: Path) -> Pipeline:
    """Return all stages of one source; without labels those that need none."""
    pretraining = (
        generate.create_pipeline(study)
        + ingest.create_pipeline(study)
        + preprocess.create_pipeline(study)
        + pretrain.create_pipeline(study, project)
    )
    if not study.finetunes:
        return pretraining + report.create_pretraining_pipeline(study, project)
    return (
        pretraining
        + finetune.create_pipeline(study)
        + evaluate.create_pipeline(study)
        + report.create_pipeline(study)
    )
