"""DiffSynth's five tasks on pocket: each a preset, a command and figures with control arms."""
