"""The log for other tools: OCSF, ECS, CSV and tlog-tiles. Pure mappings of records; nothing here can change the log."""
