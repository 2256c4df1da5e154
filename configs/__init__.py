"""What a job is: pydantic models of jobs and settings, presets, and the one error tree. Imports nothing of ours."""
