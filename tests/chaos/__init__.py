"""Kill anything at any moment: the result must be the undisturbed one, bit for bit."""
