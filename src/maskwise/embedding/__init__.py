"""An encoder and scans in; features, a map of them and how well they tell labels apart out."""
