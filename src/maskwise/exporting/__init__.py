"""A trained encoder or model in; a file for programs without this package out."""
