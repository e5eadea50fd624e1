"""Ask about a picture with OpenAI's Python client; the answer is printed as it comes."""

import base64
import os
import sys

import openai

client = openai.OpenAI(
    base_url=os.environ.get("VITRINE_API_URL", "http://127.0.0.1:8080/v1"), api_key=os.environ["VITRINE_API_KEY"]
)
with open(sys.argv[1], "rb") as file:
    picture = base64.b64encode(file.read()).decode()
stream = client.chat.completions.create(
    model="glm-4v",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
                {"type": "text", "text": "What is in this picture?"},
            ],
        }
    ],
    max_tokens=128,
    temperature=0,
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
