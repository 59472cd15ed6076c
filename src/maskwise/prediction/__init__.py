"""A trained model and unlabelled scans in; a table and a page of predictions out."""
