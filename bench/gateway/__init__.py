"""The gateway alone on one core, between a fast fake engine and a load generator on another (`make bench`)."""
