"""Pictures that callers name by URL: from where they may come, and how they are fetched; off unless the operator lists a place."""
