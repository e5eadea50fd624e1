"""Who may enter: API keys, their callers, scopes and lives; never a key in the clear after it was made."""
