"""What a newcomer reads when all is ready: where page and API are, the first key, examples to paste; makes the first key."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterable

from gateway.keys.caller import Scope
from gateway.keys.recorded_changes import RecordedChanges
from gateway.ledger.format.printable import printable

PICTURE = "docs/examples/pictures/circle-and-square.png"
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+-]+")


async def say_when_ready(
    base_url: str, waiting_for: Callable[[], list[str]], served: Callable[[], Iterable[str]], changes: RecordedChanges
) -> None:
    """Say what is waited for until an engine is ready, then how to use it, with a first key if there is none yet."""
    said = ""
    while waiting := waiting_for():
        line = "; ".join(waiting)
        if line != said:
            print(printable(f"gateway  | waiting for {line}"), flush=True)
            said = line
        await asyncio.sleep(0.25)
    # Made only now: a key made before a start that fails would never have been shown.
    first_key = None
    if not changes.store.list():
        first_key, _ = await changes.create("first", tenant="default", scopes=list(Scope))
    print(text(base_url, next(iter(served())), first_key, watched=sys.stdout.isatty()), flush=True)


def text(base_url: str, model: str, first_key: str | None, *, watched: bool = True) -> str:
    """The welcome as it is printed. In a log (not ``watched``) the key stands once, so that one line can be taken out of it."""
    # An engine chose the name, and a shell reads what is pasted.
    pasted = model if _PLAIN.fullmatch(model) else "MODEL"
    key = (
        f"Your API key, shown this once (make more: .venv/bin/vitrine keys create --name NAME):\n\n{first_key}\n"
        if first_key
        else "Your API key was shown at the first start (make another: .venv/bin/vitrine keys create --name NAME).\n"
    )
    return f"""
Vitrine is ready.

  page   {base_url}/
  API    {base_url}/v1      model {printable(model)}      docs {base_url}/docs

{key}
Put it in the environment, then ask about a picture:

export VITRINE_API_KEY={(first_key if watched else None) or "vt_..."}

curl -s {base_url}/v1/chat/completions -H "Authorization: Bearer $VITRINE_API_KEY" -H "Content-Type: application/json" -d @- <<END
{{"model": "{pasted}", "messages": [{{"role": "user", "content": [
  {{"type": "image_url", "image_url": {{"url": "data:image/png;base64,$(base64 -w0 {PICTURE})"}}}},
  {{"type": "text", "text": "What is in this picture?"}}]}}]}}
END

.venv/bin/python - <<END
import base64, openai, os
picture = base64.b64encode(open("{PICTURE}", "rb").read()).decode()
client = openai.OpenAI(base_url="{base_url}/v1", api_key=os.environ["VITRINE_API_KEY"])
answer = client.chat.completions.create(model="{pasted}", messages=[{{"role": "user", "content": [
    {{"type": "image_url", "image_url": {{"url": "data:image/png;base64," + picture}}}},
    {{"type": "text", "text": "What is in this picture?"}}]}}])
print(answer.choices[0].message.content)
END

Ctrl-C stops everything.
"""
