"""The log's files: names, segments, seals, keys, anchors, and the one writer's view of them. Never talks to a client."""
