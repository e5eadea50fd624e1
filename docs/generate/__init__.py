"""Writes the tables of docs/reference/ from the code, in English and Chinese (`make docs`); is not shipped."""
