"""The embedded family of small models: filters, scenes, training scripts and weights. No imports here."""
