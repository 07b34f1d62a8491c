"""Arrays in, numbers out: metrics, intervals, combination over seeds. Knows nothing of models or files."""
