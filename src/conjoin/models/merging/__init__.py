"""One model from several of the same shape: tensor by tensor, and unit by unit."""
