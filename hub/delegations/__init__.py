"""Runs what is handed over: plans to the journal, step by step, subtasks through dispatch."""
