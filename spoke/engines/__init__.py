"""Programs that run models, each behind the same Protocol."""
