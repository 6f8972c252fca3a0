"""The network in torch: tensor maths, costs and weights, nothing of data or training."""
