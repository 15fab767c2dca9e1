"""What a run was made of: code, environment, datasets, outputs."""
