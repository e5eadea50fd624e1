# mypy: ignore-errors
"""OpenAI's client for Python."""

from openai_tasks import tasks
from tasks import KEY, MODEL, URL, perform

# configuration
from openai import OpenAI

client = OpenAI(base_url=URL, api_key=KEY)
# client.chat.completions.create(model=MODEL, messages=...)
# end

perform(tasks(client, MODEL))
