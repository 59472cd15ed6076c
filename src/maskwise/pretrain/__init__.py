"""Store in, encoder out: one training loop, in which a policy and an objective vary."""
