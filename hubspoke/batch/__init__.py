"""A file of prompts as one durable job: delegations that belong together by a label."""
