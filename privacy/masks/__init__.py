"""Column masks: one file a group; `privacy.masking` holds the registry."""
