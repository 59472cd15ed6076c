"""The tasks by YAML name: a new one is its own file and one line here."""

from maskwise.finetune.tasks.diagnosis import DiagnosisConfig

TASKS: dict[str, type[DiagnosisConfig]] = {"diagnosis": DiagnosisConfig}
