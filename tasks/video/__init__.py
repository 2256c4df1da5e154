"""Video in (facts, index, frames) and video out (the finished file). Knows no model, store or flow."""
