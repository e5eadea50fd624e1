"""Judges a checkpoint on the held-out exam, with transformers, over a server's API, or both; trains nothing."""

import argparse
import asyncio
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp

from miniature import unseen
from miniature.exam import BARS, ExamAnswer, ExamCase, cases, parse, right

SEED = 2026
AT_ONCE = 8
TRIES = 10  # of a question that the server asks to send again later
MOST_TOKENS = 400
WAIT_S = 120
KEY = "VITRINE_KEY"
CHECKPOINT = Path(__file__).parents[1] / "serve" / "checkpoint"


def with_transformers(folder: Path, exam: list[ExamCase]) -> list[ExamAnswer]:
    """Greedy answers of transformers in bf16 on the CPU, one question at a time."""
    import torch
    from transformers import AutoProcessor, Glm4vForConditionalGeneration

    processor = AutoProcessor.from_pretrained(folder)
    model = Glm4vForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
    answers = []
    for number, case in enumerate(exam):
        if case.schema is not None:
            answers.append(ExamAnswer(""))
            continue
        text = processor.tokenizer.apply_chat_template(
            case.messages,
            tools=case.tools or None,
            add_generation_prompt=not case.begun,
            continue_final_message=case.begun,
            tokenize=False,
            enable_thinking=case.thinking,
        )
        inputs = processor(text=[text], images=case.pictures or None, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=MOST_TOKENS, do_sample=False)
        new = out[0, inputs["input_ids"].shape[1] :]
        answers.append(parse(processor.tokenizer.decode(new, skip_special_tokens=True)))
        if number % 100 == 99:
            print(f"{number + 1} of {len(exam)}", file=sys.stderr, flush=True)
    return answers


async def over_api(base: str, exam: list[ExamCase], model: str) -> list[ExamAnswer]:
    """Greedy answers of an OpenAI-compatible server; `base` is http://host:port or unix:/path/of.sock."""
    connector = (
        aiohttp.UnixConnector(base.removeprefix("unix:")) if base.startswith("unix:") else aiohttp.TCPConnector()
    )
    address = "http://engine" if base.startswith("unix:") else base.rstrip("/").removesuffix("/v1")
    headers = {"Authorization": f"Bearer {os.environ[KEY]}"} if KEY in os.environ else {}
    gate = asyncio.Semaphore(AT_ONCE)
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:

        async def one(case: ExamCase) -> ExamAnswer:
            body: dict[str, Any] = {
                "model": model,
                "messages": case.api_messages(),
                "temperature": 0,
                "max_tokens": MOST_TOKENS,
                "chat_template_kwargs": {"enable_thinking": case.thinking},
            }
            if case.tools:
                body["tools"] = case.tools
            if case.begun:
                body |= {"add_generation_prompt": False, "continue_final_message": True}
            if case.schema is not None:
                form = {"name": "form", "strict": True, "schema": case.schema}
                body["response_format"] = {"type": "json_schema", "json_schema": form}
            for _ in range(TRIES):
                async with gate, session.post(address + "/v1/chat/completions", json=body) as response:
                    if response.status == 200:
                        return _api_answer((await response.json())["choices"][0]["message"])
                    said = f"the server answered {response.status}: {await response.text()}"
                    if "Retry-After" not in response.headers:
                        break
                await asyncio.sleep(float(response.headers["Retry-After"]))
            raise RuntimeError(said)

        return list(await asyncio.gather(*(one(case) for case in exam)))


def _api_answer(message: dict[str, Any]) -> ExamAnswer:
    calls = []
    for call in message.get("tool_calls") or []:
        arguments = json.loads(call["function"]["arguments"])
        calls.append((call["function"]["name"], {key: str(value) for key, value in arguments.items()}))
    thought = message.get("reasoning") or message.get("reasoning_content") or ""
    return ExamAnswer((message.get("content") or "").strip(), thought.strip(), calls)


def scores(exam: list[ExamCase], answers: list[ExamAnswer]) -> dict[str, dict[str, Any]]:
    """By skill: right, of how many, the share, the bar if there is one."""
    tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for case, answer in zip(exam, answers, strict=True):
        tally[case.skill][0] += right(case, answer)
        tally[case.skill][1] += 1
    return {
        skill: {"right": good, "of": of, "share": round(good / of, 4), "bar": BARS.get(skill)}
        for skill, (good, of) in tally.items()
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = []
    for way in ("transformers", "api"):
        if way in report:
            lines.append(f"{way}:")
            for skill, row in report[way].items():
                verdict = (
                    ""
                    if row["bar"] is None
                    else ("  ok" if row["share"] >= row["bar"] else "  BELOW") + f" {row['bar']}"
                )
                lines.append(f"  {skill:24} {row['right']:5} of {row['of']:5}  {row['share']:.3f}{verdict}")
    if "agreement" in report:
        lines.append(f"agreement of the two, text for text: {report['agreement']:.4f}")
    return "\n".join(lines)


def main() -> int:
    """Read the options, judge, print; 0 if every bar is reached, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--api", help=f"base URL or unix:/path of a server; a key is taken from {KEY}")
    parser.add_argument("--model", default="glm-4v")
    parser.add_argument("--no-transformers", action="store_true", help="judge the server alone")
    parser.add_argument("--each", type=int, default=100, help="cases of each skill")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--fonts", type=Path, default=Path("none"), help="folder of held-out .ttf files")
    parser.add_argument("--photos", type=Path, default=Path("none"), help="folder of photos for what it cannot see")
    parser.add_argument("--skills", nargs="*", default=[], help="only these")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wrong", type=int, default=0, help="show this many wrong answers of each skill")
    options = parser.parse_args()
    unseen.PHOTOS[:] = sorted(options.photos.glob("*.*")) if options.photos.is_dir() else []
    exam = list(cases(options.seed, options.each, options.fonts))
    exam = [case for case in exam if not options.skills or case.skill in options.skills]
    report: dict[str, Any] = {"seed": options.seed, "each": options.each}
    given: dict[str, list[ExamAnswer]] = {}
    if options.api:
        given["api"] = asyncio.run(over_api(options.api, exam, options.model))
    if not options.no_transformers:
        given["transformers"] = with_transformers(options.checkpoint, exam)
    for way, answers in given.items():
        # Only a server holds an answer to a schema.
        asked = [(case, one) for case, one in zip(exam, answers, strict=True) if way == "api" or case.schema is None]
        report[way] = scores([case for case, _ in asked], [one for _, one in asked])
        _show_wrong(exam, answers, options.wrong)
    if len(given) == 2:
        same = [one == two for case, one, two in zip(exam, *given.values(), strict=True) if case.schema is None]
        report["agreement"] = round(sum(same) / len(same), 4)
    print(json.dumps(report, indent=2) if options.json else table(report))
    rows = [row for way in given for row in report[way].values()]
    return 0 if all(row["bar"] is None or row["share"] >= row["bar"] for row in rows) else 1


def _show_wrong(exam: list[ExamCase], answers: list[ExamAnswer], most: int) -> None:
    shown: dict[str, int] = defaultdict(int)
    for case, answer in zip(exam, answers, strict=True):
        if not right(case, answer) and shown[case.skill] < most:
            shown[case.skill] += 1
            wanted = case.truth.conclusion if case.skill == "result" else case.truth.answer or case.truth.calls
            print(f"{case.skill}: {case.truth.question!r}\n  wanted {wanted}\n  got    {answer}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
