"""What travels beside a model: a card of the model, and one of the data that it learnt from."""
