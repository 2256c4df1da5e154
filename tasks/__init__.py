"""The stages, one per file, the artifact store and the lockstep engine. Knows no flow."""
