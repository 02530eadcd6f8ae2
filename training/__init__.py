"""Learn from the gateway's snapshots: models, tuning, evaluation, gates, tracking, registry."""
