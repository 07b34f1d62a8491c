"""The report on all results: read, combined over seeds, compared, drawn, and bound into one page."""
