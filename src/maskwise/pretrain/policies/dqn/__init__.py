"""The policy ``dqn``: deep Q-learning chooses the box that is hardest to fill in."""
