"""Ask about a picture with LangChain (pip install langchain-openai)."""

import base64
import os
import sys

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="glm-4v",
    base_url=os.environ.get("VITRINE_API_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ["VITRINE_API_KEY"],
    max_tokens=128,
    temperature=0,
)
with open(sys.argv[1], "rb") as file:
    picture = base64.b64encode(file.read()).decode()
message = HumanMessage(
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "text", "text": "What is in this picture?"},
    ]
)
for piece in model.stream([message]):
    print(piece.content, end="", flush=True)
print()
