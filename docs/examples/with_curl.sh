#!/bin/sh
# Ask about a picture with curl. The body goes through a pipe: a picture is too long for a command line.
set -eu
url=${VITRINE_API_URL:-http://127.0.0.1:8080/v1}
curl -sS --fail-with-body "$url/chat/completions" \
  -H "Authorization: Bearer $VITRINE_API_KEY" -H "Content-Type: application/json" -d @- <<END
{"model": "glm-4v", "max_tokens": 128, "temperature": 0, "messages": [{"role": "user", "content": [
  {"type": "image_url", "image_url": {"url": "data:image/png;base64,$(base64 -w0 "$1")"}},
  {"type": "text", "text": "What is in this picture?"}]}]}
END
