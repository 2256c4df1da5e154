"""Prefect flows and the command line: thin glue over `tasks`."""
