# mypy: ignore-errors
"""The form that a picture of shapes is described by, as pydantic has it."""

from pydantic import BaseModel


class Shape(BaseModel):
    """One shape."""

    shape: str
    color: str


class Picture(BaseModel):
    """All shapes of a picture."""

    shapes: list[Shape]
