"""Ask about a picture with nothing but requests; what can go wrong is said in words."""

import base64
import os
import sys

import requests

url = os.environ.get("VITRINE_API_URL", "http://127.0.0.1:8080/v1")
with open(sys.argv[1], "rb") as file:
    picture = base64.b64encode(file.read()).decode()
response = requests.post(
    f"{url}/chat/completions",
    headers={"Authorization": f"Bearer {os.environ['VITRINE_API_KEY']}"},
    json={
        "model": "glm-4v",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
                    {"type": "text", "text": "What is in this picture?"},
                ],
            }
        ],
        "max_tokens": 128,
        "temperature": 0,
    },
    timeout=300,
)
if response.status_code != 200:
    sys.exit(f"{response.status_code}: {response.json()['error']['message']}")
print(response.json()["choices"][0]["message"]["content"])
