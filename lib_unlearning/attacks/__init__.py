"""What attacks have in common beyond a single one, and attacks that are more than a feature."""
