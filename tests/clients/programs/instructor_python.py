# mypy: ignore-errors
"""instructor, which gets answers of a form from OpenAI's client."""

from picture_form import Picture
from tasks import FILL, KEY, MODEL, URL, perform, seen

# configuration
import instructor
from openai import OpenAI

client = instructor.from_openai(
    OpenAI(base_url=URL, api_key=KEY),
    mode=instructor.Mode.JSON_SCHEMA,
)
# client.chat.completions.create(model=MODEL, response_model=..., messages=...)
# end

options = {"model": MODEL, "temperature": 0, "max_tokens": 128, "max_retries": 0}


def schema():
    return client.chat.completions.create(response_model=Picture, messages=[seen(FILL)], **options).model_dump()


perform({"schema": schema})
