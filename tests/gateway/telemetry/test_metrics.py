"""Each metric moves by exactly what was done, and by nothing else; over real sockets, on the metrics port."""

import base64
import json
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import WORDS, Behaviour, FakeEngine
from tests.support.gateway import RED_SQUARE, Gateway, question
from tests.support.scrape import Series, fetch, moves, parse, scrape, settled

PICTURE_BYTES = len(base64.b64decode(RED_SQUARE.partition(",")[2]))
PICTURE_PIXELS = 28 * 28
MODEL = 'model="glm-4v"'


def ended(outcome: str) -> str:
    """The series of the exchanges that ended so."""
    return f'vitrine_exchanges_total{{{MODEL},outcome="{outcome}",route="/v1/chat/completions"}}'


def after_one(gateway: Gateway, before: Series, outcome: str = "completed", count: int = 1) -> Series:
    """What moved until ``count`` more exchanges are counted."""
    name = ended(outcome)
    return moves(before, settled(gateway.metrics_port, lambda now: now[name] >= before.get(name, 0) + count))


def exchange(outcome: str = "completed", status: int = 200) -> dict[str, float]:
    """What every exchange that the engine was asked for moves."""
    stages = ("auth", "read", "door", "queue", "engine", "complete", "send")
    return {
        ended(outcome): 1,
        f'vitrine_requests_total{{method="POST",route="/v1/chat/completions",status="{status}"}}': 1,
        f"vitrine_exchange_seconds_count{{{MODEL}}}": 1,
        **{f'vitrine_stage_seconds_count{{{MODEL},stage="{stage}"}}': 1 for stage in stages},
        f"vitrine_queue_seconds_count{{{MODEL}}}": 1,
        f"vitrine_images_total{{{MODEL}}}": 1,
        f"vitrine_image_bytes_total{{{MODEL}}}": PICTURE_BYTES,
        f"vitrine_image_pixels_total{{{MODEL}}}": PICTURE_PIXELS,
        'vitrine_engine_choices_total{engine="engine-0",why="only"}': 1,
        f'vitrine_tenant_exchanges_total{{outcome="{outcome}",tenant="default"}}': 1,
        'vitrine_tenant_images_total{tenant="default"}': 1,
        'vitrine_ledger_call_seconds_count{call="admit"}': 1,
        'vitrine_ledger_call_seconds_count{call="complete"}': 1,
        'vitrine_ledger_appended_total{kind="admit"}': 1,
        'vitrine_ledger_appended_total{kind="complete"}': 1,
    }


def answered(sent: int, said: int) -> dict[str, float]:
    """What an answer of so many bytes moves."""
    return {
        f'vitrine_stage_seconds_count{{{MODEL},stage="answer"}}': 1,
        f"vitrine_first_byte_seconds_count{{{MODEL}}}": 1,
        f'vitrine_tokens_total{{direction="in",{MODEL}}}': 7,
        f'vitrine_tokens_total{{direction="out",{MODEL}}}': len(WORDS),
        f'vitrine_relayed_bytes_total{{direction="in",{MODEL}}}': sent,
        f'vitrine_relayed_bytes_total{{direction="out",{MODEL}}}': said,
        'vitrine_tenant_tokens_total{direction="in",tenant="default"}': 7,
        'vitrine_tenant_tokens_total{direction="out",tenant="default"}': len(WORDS),
    }


STREAM = dict.fromkeys(
    (f"vitrine_{what}_seconds_count{{{MODEL}}}" for what in ("first_token", "between_tokens", "longest_silence")), 1.0
)
# When the disk is asked depends on what else waits; what is asked of it does not. The wait for it may be none.
TIMING = ("vitrine_ledger_commit_seconds_count", "vitrine_ledger_batch_records_count", 'stage="admit"')


def certain(moved: Series) -> Series:
    return {name: value for name, value in moved.items() if not any(part in name for part in TIMING)}


@pytest.mark.parametrize("stream", [False, True])
def test_an_exchange_moves_what_it_did_and_nothing_else(
    gateway: Gateway, engine: FakeEngine, key: str, stream: bool
) -> None:
    gateway.chat(key)
    time.sleep(0.6)  # the loads of that one are told by now
    before = scrape(gateway.metrics_port)
    body = question(stream=stream)
    answer = gateway.chat(key, stream=stream)
    expected = exchange() | answered(len(json.dumps(body)), len(answer.body)) | (STREAM if stream else {})
    assert certain(after_one(gateway, before)) == expected


def test_the_stages_of_an_exchange_are_its_whole_time(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    before = scrape(gateway.metrics_port)
    for stream in (False, True):
        gateway.chat(key, stream=stream)
    now = settled(gateway.metrics_port, lambda now: ended("completed") in after_two(before, now))
    stages = sum(
        now[name] - before.get(name, 0) for name in now if name.startswith(f"vitrine_stage_seconds_sum{{{MODEL}")
    )
    whole = f"vitrine_exchange_seconds_sum{{{MODEL}}}"
    assert stages == pytest.approx(now[whole] - before.get(whole, 0), abs=1e-6)
    assert stages > 0


def after_two(before: Series, now: Series) -> Series:
    return {name: value for name, value in moves(before, now).items() if value >= 2}


def test_a_pause_in_a_stream_is_its_longest_silence_and_spread_over_its_tokens(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    before = scrape(gateway.metrics_port)
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    asking = threading.Thread(target=gateway.chat, args=(key,), kwargs={"stream": True})
    asking.start()
    until(lambda: scrape(gateway.metrics_port)["vitrine_exchanges_in_flight"] == 1)
    time.sleep(0.5)  # so long is the gap that the metrics must show
    engine.go_on.set()
    asking.join(20)
    after_one(gateway, before)
    now = scrape(gateway.metrics_port)

    def seconds(what: str) -> float:
        name = f"vitrine_{what}_seconds_sum{{{MODEL}}}"
        return now[name] - before.get(name, 0)

    assert 0.45 < seconds("longest_silence") < seconds("exchange")
    assert seconds("longest_silence") <= seconds("between_tokens") * (len(WORDS) - 1) + 0.05
    assert seconds("first_token") < seconds("exchange") - 0.45
    assert now["vitrine_exchanges_in_flight"] == 0


@pytest.mark.parametrize(
    ("behaviour", "status", "outcome", "what"),
    [
        (Behaviour.FAILS_WITH_500, 502, "engine_broke", "broke"),
        (Behaviour.STALLS_BEFORE_THE_FIRST_BYTE, 504, "timed_out", "timed-out"),
    ],
)
def test_an_engine_that_fails_is_counted_and_nothing_is_taken_for_an_answer(
    gateway: Gateway, engine: FakeEngine, key: str, behaviour: Behaviour, status: int, outcome: str, what: str
) -> None:
    before = scrape(gateway.metrics_port)
    engine.behaviour = behaviour
    sent = len(json.dumps(question()))
    assert gateway.chat(key).status == status
    expected = exchange(outcome, status) | {
        f'vitrine_engine_failures_total{{engine="engine-0",what="{what}"}}': 1,
        f'vitrine_relayed_bytes_total{{direction="in",{MODEL}}}': sent,
    }
    assert certain(after_one(gateway, before, outcome)) == expected


def test_a_refused_request_is_counted_by_its_code_and_is_no_exchange(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    scraper = gateway.create_key("--scope", "metrics")
    before = scrape(gateway.metrics_port)
    assert gateway.chat(None).status == 401
    assert gateway.chat("vt_" + "x" * 49).status == 401
    assert gateway.chat(scraper).status == 403
    assert gateway.chat(key, model="gpt-4o").status == 404
    assert gateway.chat(key, best_of=2).status == 400
    assert gateway.request("GET", "/v1/nothing", key=key).status == 404
    assert gateway.request("PROPFIND", "/healthz").status == 405
    moved = moves(before, scrape(gateway.metrics_port))
    codes = {
        name.partition('code="')[2][:-2]: value for name, value in moved.items() if name.startswith("vitrine_refused")
    }
    assert codes == {
        "invalid_api_key": 2,
        "insufficient_permissions": 1,
        "model_not_found": 1,
        "unknown_parameter": 1,
        "not_found": 1,
        "method_not_allowed": 1,
    }
    assert moved['vitrine_authentication_failures_total{reason="missing"}'] == 1
    assert moved['vitrine_authentication_failures_total{reason="invalid"}'] == 1
    assert moved['vitrine_requests_total{method="other",route="/healthz",status="405"}'] == 1
    assert moved['vitrine_ledger_appended_total{kind="deny"}'] == 5
    assert not [name for name in moved if name.startswith(("vitrine_exchange", "vitrine_tenant", "vitrine_stage"))]


def test_a_limit_that_is_hit_is_counted_for_the_key_and_for_its_tenant(gateway: Gateway, engine: FakeEngine) -> None:
    mine, _ = gateway.limited_key("--requests-per-min", "1", tenant="acme")
    before = scrape(gateway.metrics_port)
    assert [gateway.chat(mine).status for _ in range(3)] == [200, 429, 429]
    moved = after_one(gateway, before, "refused", 2)
    assert moved['vitrine_limits_hit_total{limit="requests_per_min",scope="key"}'] == 2
    assert moved['vitrine_tenant_limits_hit_total{limit="requests_per_min",tenant="acme"}'] == 2
    assert moved['vitrine_refused_total{code="rate_limit_exceeded"}'] == 2
    assert moved['vitrine_tenant_exchanges_total{outcome="completed",tenant="acme"}'] == 1
    assert moved['vitrine_tenant_images_total{tenant="acme"}'] == 3


def test_keys_are_counted_by_their_state_and_none_is_named(gateway: Gateway) -> None:
    before = scrape(gateway.metrics_port)
    made = gateway.create_key()
    gateway.create_key("--expires", "0s")
    text = fetch(gateway.metrics_port)
    now = parse(text)
    assert now['vitrine_keys{state="active"}'] - before['vitrine_keys{state="active"}'] == 1
    assert now['vitrine_keys{state="expired"}'] - before['vitrine_keys{state="expired"}'] == 1
    assert made not in text
    assert not any(key_id in text for key_id in gateway.key_ids())


def test_the_client_the_gateway_the_ledger_and_the_engine_count_alike(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    before = scrape(gateway.metrics_port)
    admits, completes = len(ledger.records(kind="admit")), len(ledger.records(kind="complete"))
    answers = [gateway.chat(key, stream=number % 2 == 0) for number in range(30)]
    assert {answer.status for answer in answers} == {200}
    moved = after_one(gateway, before, count=30)
    engines = parse(fetch(gateway.metrics_port, "/metrics/engines/engine-0"))
    assert moved[ended("completed")] == len(answers) == 30
    assert moved['vitrine_ledger_appended_total{kind="admit"}'] == len(ledger.records(kind="admit")) - admits == 30
    assert (
        moved['vitrine_ledger_appended_total{kind="complete"}']
        == len(ledger.records(kind="complete")) - completes
        == 30
    )
    assert engines['vllm:request_success_total{finished_reason="stop"}'] == 30


def test_a_batch_of_the_ledger_is_measured_for_every_record(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    ledger.process.send(signal.SIGSTOP)
    with ThreadPoolExecutor(8) as many:
        asked = [many.submit(gateway.chat, key) for _ in range(8)]
        until(lambda: len(engine.bodies) == 8, what="all asked, and none admitted")
        ledger.process.send(signal.SIGCONT)
        assert {one.result(30).status for one in asked} == {200}
    until(lambda: scrape(gateway.metrics_port)["vitrine_ledger_open_exchanges"] == 0)
    now = scrape(gateway.metrics_port)
    appended = sum(value for name, value in now.items() if name.startswith("vitrine_ledger_appended_total"))
    assert now["vitrine_ledger_batch_records_sum"] == appended == now["vitrine_ledger_log_records"]
    assert now['vitrine_ledger_batch_records_bucket{le="+Inf"}'] == now["vitrine_ledger_commit_seconds_count"] > 0
    assert now["vitrine_ledger_commit_seconds_sum"] > 0
    assert now["vitrine_ledger_commit_seconds_count"] < appended  # what had waited was one batch
    assert abs(time.time() - now["vitrine_ledger_commit_timestamp_seconds"]) < 60
    until(
        lambda: (
            (now := scrape(gateway.metrics_port))["vitrine_ledger_head_records"] == now["vitrine_ledger_log_records"]
        )
    )
    assert 0 < now["vitrine_ledger_free_bytes"] < now["vitrine_ledger_disk_bytes"]


def test_promtool_finds_nothing_to_mend(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing (Debian: prometheus)")
    gateway.chat(key, stream=True)
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=fetch(gateway.metrics_port),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
