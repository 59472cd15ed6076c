"""All artefacts of a source become one page that a clinician can open."""
