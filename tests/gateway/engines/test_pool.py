"""Several engines behind one real gateway: which is asked, who takes over, who comes and goes while it runs."""

import base64
import io
import json
import ssl
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from tests.support.audit import Ledger
from tests.support.certificate import certificate
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.process import run
from tests.support.scrape import moves, scrape

CARE = {
    "VITRINE_PROBE_INTERVAL_S": "0.2",
    "VITRINE_PROBE_TIMEOUT_S": "1",
    "VITRINE_SLOW_START_S": "0",
    "VITRINE_SILENCE_TIMEOUT_S": "16",
    "VITRINE_ANSWER_TIMEOUT_S": "32",
}


class House:
    """Two engines of this host, their ledger and their gateway."""

    def __init__(self, home: Path, engines: list[FakeEngine], ledger: Ledger, gateway: Gateway) -> None:
        self.home, self.engines, self.ledger, self.gateway = home, engines, ledger, gateway
        self.key = gateway.create_key()

    def ask(self, *, colour: int = 0, stream: bool = False) -> tuple[int, str]:
        """Ask about a picture of its own; the status and the engine that the record names."""
        answer = self.gateway.chat(self.key, messages=about(colour), stream=stream)
        done = self.ledger.records(kind="complete", id=answer.headers["x-audit-id"])
        return answer.status, done[0]["engine"]

    def command(self, *words: str) -> str:
        done = run("gateway.engines", *words, env=self.ledger.env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ready(self) -> dict[str, float]:
        """Which engines the gateway says are ready, by its metrics."""
        return {name: value for name, value in metric(self.gateway, "vitrine_engine_ready").items() if value}

    def recover(self) -> None:
        for engine in self.engines:
            engine.behaviour, engine.probes_misbehave = Behaviour.ANSWERS, False
            engine.bodies.clear()
            engine.go_on.clear()
        until(lambda: len(self.ready()) == 2, what="both engines ready")


def about(colour: int) -> list[dict[str, object]]:
    picture = io.BytesIO()
    Image.new("RGB", (28, 28), (colour % 256, colour // 256, 7)).save(picture, "PNG")
    url = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is in this picture?"}]
    return [{"role": "user", "content": parts}]


def metric(gateway: Gateway, name: str) -> dict[str, float]:
    """A metric's values by its engine."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    mine = [line for line in lines if line.startswith(name + "{")]
    return {line.partition('engine="')[2].partition('"')[0]: float(line.split()[-1]) for line in mine}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        engines = [stack.enter_context(FakeEngine(home / "run", number)) for number in range(2)]
        ledger = stack.enter_context(Ledger(home))
        gateway = stack.enter_context(Gateway(home, **CARE))
        yield House(home, engines, ledger, gateway)


@pytest.fixture
def house(running: House) -> House:
    running.recover()
    return running


def test_a_picture_stays_with_its_engine_and_pictures_spread(house: House) -> None:
    first = [house.ask(colour=colour) for colour in range(16)]
    again = [house.ask(colour=colour, stream=True) for colour in range(16)]
    assert first == again
    assert {engine for _, engine in first} == {"engine-0", "engine-1"}


def test_a_choice_is_counted_with_its_reason(house: House) -> None:
    port = house.gateway.metrics_port
    _, home = house.ask(colour=1)
    before = scrape(port)
    for _ in range(5):
        assert house.ask(colour=1) == (200, home)
    moved = {
        name: value for name, value in moves(before, scrape(port)).items() if name.startswith("vitrine_engine_choices")
    }
    assert moved == {f'vitrine_engine_choices_total{{engine="{home}",why="home"}}': 5}
    other = next(name for name in ("engine-0", "engine-1") if name != home)
    house.engines[int(home[-1])].behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(12) as many:
        asked = [many.submit(house.gateway.chat, house.key, messages=about(1)) for _ in range(12)]
        spilled = f'vitrine_engine_choices_total{{engine="{other}",why="spilled"}}'
        until(lambda: scrape(port).get(spilled, 0) > before.get(spilled, 0), what="one goes where it is less busy")
        house.engines[int(home[-1])].go_on.set()
        assert {one.result(30).status for one in asked} == {200}


def test_the_turns_of_a_conversation_without_a_picture_stay_together(house: House) -> None:
    for topic in range(6):
        turns = [{"role": "user", "content": f"topic {topic}"}]
        before = [len(engine.bodies) for engine in house.engines]
        for _ in range(4):
            assert house.gateway.chat(house.key, messages=turns).status == 200
            turns += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "and then?"}]
        more = [len(engine.bodies) - count for engine, count in zip(house.engines, before, strict=True)]
        assert sorted(more) == [0, 4]


@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [
        (Behaviour.FAILS_WITH_500, False),
        (Behaviour.FAILS_WITH_500, True),
        (Behaviour.RESETS, False),
        (Behaviour.RESETS, True),
        (Behaviour.ANSWERS_GARBAGE, False),
        (Behaviour.STREAMS_GARBAGE, True),
    ],
)
def test_what_failed_before_its_first_byte_is_asked_elsewhere_once(
    house: House, behaviour: Behaviour, stream: bool
) -> None:
    _, home = house.ask(colour=1)
    broken = house.engines[int(home[-1])]
    broken.behaviour = behaviour
    retries = metric(house.gateway, "vitrine_retries_total").get(home, 0)
    status, answered = house.ask(colour=1, stream=stream)
    assert (status, answered) == (200, next(name for name in ("engine-0", "engine-1") if name != home))
    assert metric(house.gateway, "vitrine_retries_total")[home] == retries + 1


def test_where_both_fail_the_client_is_told_after_two_attempts(house: House) -> None:
    for engine in house.engines:
        engine.behaviour = Behaviour.FAILS_WITH_500
    answer = house.gateway.chat(house.key)
    assert (answer.status, answer.error["code"]) == (502, "engine_broke")
    assert [len(engine.bodies) for engine in house.engines] == [1, 1]


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.CUTS_AFTER_TWO_EVENTS,
        Behaviour.SENDS_HALF_AN_EVENT,
        Behaviour.ENDS_WITHIN_A_CHARACTER,
        Behaviour.STREAMS_GARBAGE_AFTER_TWO_EVENTS,
        Behaviour.ENDS_WITHOUT_DONE,
    ],
)
def test_what_fails_after_its_first_byte_is_never_asked_again(house: House, behaviour: Behaviour) -> None:
    for engine in house.engines:
        engine.behaviour = behaviour
    answer = house.gateway.chat(house.key, stream=True)
    assert sum(len(engine.bodies) for engine in house.engines) == 1
    assert b'"code":"engine_broke"' in answer.body
    assert b"[DONE]" not in answer.body
    record = house.ledger.records(kind="complete", id=answer.headers["x-audit-id"])[0]
    assert record["outcome"] == "engine_broke"
    answer.body.decode()  # never half a character


@pytest.mark.slow("waits for a deadline of 16 s, which all tests of the file share")
def test_an_engine_that_never_answers_ends_as_timed_out_and_the_pool_goes_on(house: House) -> None:
    _, home = house.ask(colour=3)
    silent = house.engines[int(home[-1])]
    silent.behaviour, silent.probes_misbehave = Behaviour.STALLS_BEFORE_THE_FIRST_BYTE, True
    answer = house.gateway.chat(house.key, messages=about(3), stream=True)
    assert (answer.status, answer.error["code"]) == (504, "timed_out")
    until(lambda: home not in house.ready(), within_s=15, what="the silent engine set aside")
    assert house.ask(colour=3)[1] != home


@pytest.mark.parametrize("behaviour", [Behaviour.ANSWERS_AS_ANOTHER_MODEL, Behaviour.ANSWERS_GARBAGE, Behaviour.RESETS])
def test_an_engine_whose_probes_fail_is_set_aside_and_comes_back_by_itself(house: House, behaviour: Behaviour) -> None:
    sick = house.engines[0]
    sick.behaviour, sick.probes_misbehave = behaviour, True
    until(lambda: list(house.ready()) == ["engine-1"], what="the sick engine set aside")
    sick.bodies.clear()
    assert {house.ask(colour=colour) for colour in range(8)} == {(200, "engine-1")}
    assert not sick.bodies
    sick.behaviour = Behaviour.ANSWERS
    until(lambda: len(house.ready()) == 2, what="it came back")


def test_a_drained_engine_gets_nothing_new_and_ends_what_it_has(house: House) -> None:
    _, home = house.ask(colour=5)
    engine = house.engines[int(home[-1])]
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
    with ThreadPoolExecutor(1) as one:
        engine.bodies.clear()
        going = one.submit(house.gateway.chat, house.key, messages=about(5), stream=True)
        until(lambda: engine.bodies, what="the stream has begun")
        assert "gets nothing new" in house.command("drain", home)
        until(lambda: home not in house.ready(), what="drained")
        assert house.ask(colour=5)[1] != home
        listed = {row["engine"]: row for row in json.loads(house.command("list", "--json"))}
        assert listed[home]["state"] == "draining"
        assert listed[home]["source"] == "host"
        engine.go_on.set()
        assert going.result(20).body.endswith(b"data: [DONE]\n\n")
    until(lambda: metric(house.gateway, "vitrine_busy_exchanges")[home] == 0, what="empty")
    house.command("undrain", home)
    until(lambda: len(house.ready()) == 2, what="used again")
    assert house.ask(colour=5)[1] == home
    changes = [record["facts"]["change"] for record in house.ledger.records(kind="boot", room="gateway.engines")]
    assert changes == ["drain", "undrain"]


def test_an_engine_of_another_host_comes_and_goes_while_the_gateway_runs(house: House) -> None:
    with FakeEngine(house.home, tcp=True) as far:
        said = house.command("add", "gpu-1", far.url)
        assert said == "gpu-1 is added, it serves glm-4v glm-4v-fake\n"
        until(lambda: "gpu-1" in house.ready(), what="the new engine is proven")
        assert {engine for _, engine in (house.ask(colour=colour) for colour in range(24))} == {
            "engine-0",
            "engine-1",
            "gpu-1",
        }
        assert far.probes[0]["max_tokens"] == 1
        house.command("remove", "gpu-1")
        until(lambda: "gpu-1" not in house.ready(), what="gone")
        assert {engine for _, engine in (house.ask(colour=colour) for colour in range(24))} == {"engine-0", "engine-1"}
    record = house.ledger.records(kind="boot", room="gateway.engines")[-2]
    assert (record["facts"]["change"], record["outbound"]) == ("add", [far.url])


def test_a_drained_engine_of_the_settings_goes_when_they_drop_it_and_is_still_drained_when_they_name_it_again(
    tmp_path: Path,
) -> None:
    with FakeEngine(tmp_path, tcp=True) as far, FakeEngine(tmp_path / "run") as near, Ledger(tmp_path) as ledger:
        named = {"VITRINE_ENGINES": f"gpu-1={far.url}"}

        def command(*words: str, **settings: str) -> tuple[int, str]:
            done = run("gateway.engines", *words, env={**ledger.env, **settings})
            return done.returncode, done.stdout + done.stderr

        def asked(gateway: Gateway, key: str) -> list[int]:
            for engine in (far, near):
                engine.bodies.clear()
            assert {gateway.chat(key, messages=about(colour)).status for colour in range(12)} == {200}
            return [min(len(engine.bodies), 1) for engine in (far, near)]

        def states(gateway: Gateway) -> dict[str, float]:
            return metric(gateway, "vitrine_engine_draining")

        with Gateway(tmp_path, **CARE, **named) as gateway:
            key = gateway.create_key()
            until(lambda: len(metric(gateway, "vitrine_engine_ready")) == 2, what="both are known")
            assert command("drain", "gpu-1", **named)[0] == 0
            until(lambda: states(gateway) == {"gpu-1": 1, "engine-0": 0}, what="drained")
            assert asked(gateway, key) == [0, 1]
            listed = {row["engine"]: row for row in json.loads(command("list", "--json", **named)[1])}
            assert (listed["gpu-1"]["state"], listed["gpu-1"]["source"]) == ("draining", "settings")
            assert scrape_names(gateway) == {"engine-0", "gpu-1"}
            code, said = command("remove", "gpu-1", **named)
            assert (code, "is removed there" in said) == (1, True)
            assert far.url not in (tmp_path / "engines.json").read_text()
        with Gateway(tmp_path, **CARE) as gateway:
            assert asked(gateway, key) == [0, 1]
            until(lambda: states(gateway) == {"engine-0": 0}, what="it is the only one")
            assert scrape_names(gateway) == {"engine-0"}
            assert [row["engine"] for row in json.loads(command("list", "--json")[1])] == ["engine-0"]
        with Gateway(tmp_path, **CARE, **named) as gateway:
            until(lambda: states(gateway) == {"gpu-1": 1, "engine-0": 0}, what="known, and drained")
            assert command("undrain", "gpu-1") == (
                0,
                "gpu-1 is used again\n",
            )  # by whom the settings don't say where it is
            until(lambda: metric(gateway, "vitrine_engine_ready") == {"gpu-1": 1, "engine-0": 1}, what="used again")
            assert asked(gateway, key) == [1, 1]
        assert json.loads((tmp_path / "engines.json").read_text()) == {}
        assert command("undrain", "gpu-1")[0] == 1


def scrape_names(gateway: Gateway) -> set[str]:
    """The engines whose own metrics Prometheus is told to fetch."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics/engines", timeout=10) as answer:
        return {target["labels"]["engine"] for target in json.load(answer)}


@pytest.mark.parametrize(
    ("behaviour", "why"), [(Behaviour.LISTS_GARBAGE, "was not understood"), (Behaviour.ANSWERS_AS_ANOTHER_MODEL, "")]
)
def test_an_engine_that_lies_is_never_asked(house: House, behaviour: Behaviour, why: str) -> None:
    with FakeEngine(house.home, tcp=True) as liar:
        liar.behaviour, liar.probes_misbehave = behaviour, True
        said = house.command("add", "liar", liar.url)
        assert why in said
        if behaviour is Behaviour.ANSWERS_AS_ANOTHER_MODEL:
            until(lambda: liar.probes)
        assert {engine for _, engine in (house.ask(colour=colour) for colour in range(16))} == {"engine-0", "engine-1"}
        assert not liar.bodies
        house.command("remove", "liar")
    until(lambda: "liar" not in metric(house.gateway, "vitrine_engine_ready") or "liar" not in house.ready())


def test_an_engine_that_serves_another_model_gets_none_of_this_ones_questions(house: House) -> None:
    with FakeEngine(house.home, tcp=True, served_names=("other-model",)) as other:
        house.command("add", "other", other.url)
        until(lambda: "other" in house.ready(), what="proven")
        assert {engine for _, engine in (house.ask(colour=colour) for colour in range(16))} == {"engine-0", "engine-1"}
        assert house.gateway.chat(house.key, model="other-model").status == 200
        assert [body["model"] for body in other.bodies] == ["other-model"]
        house.command("remove", "other")


def test_a_roster_that_was_spoiled_by_hand_changes_nothing_and_is_said(house: House) -> None:
    path = house.home / "engines.json"
    before = path.read_bytes()
    path.write_text("{spoiled")
    house.gateway.process.line_with("the roster of engines was not taken over")
    assert house.ask(colour=1)[0] == 200
    refused = run("gateway.engines", "list", env=house.ledger.env)
    assert (refused.returncode, "mend it, or remove it" in refused.stderr) == (1, True)
    path.write_bytes(before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "Bad Name", "http://g:1"), "no engine's name"),
        (("add", "gpu-1", "gpu-1:8000"), "no engine's address"),
        (("add", "engine-7", "http://g:1"), "engines of this host"),
        (("drain", "nobody"), "there is no engine nobody"),
        (("remove", "engine-0"), "was not added here"),
    ],
)
def test_a_wrong_command_is_one_sentence(house: House, words: tuple[str, ...], said: str) -> None:
    done = run("gateway.engines", *words, env=house.ledger.env)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_engines_from_the_settings_speak_tls_and_only_to_who_proves_itself(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
    contexts = []
    for folder in (good, bad):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(folder, "127.0.0.1"))
        contexts.append(context)
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        trusted, impostor = (stack.enter_context(FakeEngine(home, tcp=context)) for context in contexts)
        ledger = stack.enter_context(Ledger(home))
        listed = f"gpu-1={trusted.url},gpu-2={impostor.url}"
        settings = {"VITRINE_ENGINES": listed, "VITRINE_ENGINES_CA": str(good / "chain.pem"), **CARE}
        gateway = stack.enter_context(Gateway(home, **settings))
        house = House(home, [trusted, impostor], ledger, gateway)
        until(lambda: list(house.ready()) == ["gpu-1"], what="the trusted engine ready")
        assert {house.ask(colour=colour) for colour in range(8)} == {(200, "gpu-1")}
        assert not impostor.bodies
        assert not impostor.probes
        boot = ledger.records(kind="boot", room="gateway")[-1]
        assert boot["outbound"] == sorted([trusted.url, impostor.url])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"VITRINE_ENGINES": "gpu-1"}, "write NAME=URL"),
        ({"VITRINE_ROUTING": "random"}, "affinity"),
        ({"VITRINE_WORKERS": "0"}, "greater than or equal to 1"),
        ({"VITRINE_ENGINES_CA": "/nowhere.pem"}, "can't be read"),
    ],
)
def test_a_bad_setting_ends_the_start_with_78(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    done = run(
        "gateway", env={"VITRINE_HOME": str(tmp_path), "VITRINE_PORT": "0", "VITRINE_METRICS_PORT": "0", **settings}
    )
    assert done.returncode == 78, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_engines_are_listed_below_a_state_folder_with_a_relative_name(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with FakeEngine(tmp_path / "state" / "run"):
        done = run("gateway.engines", "list", "--json", env={"VITRINE_HOME": "state"}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row["engine"], row["state"], row["models"]) for row in json.loads(done.stdout)] == [
        ("engine-0", "ready", ["glm-4v", "glm-4v-fake"])
    ]


def test_round_robin_takes_turns(tmp_path: Path) -> None:
    with ExitStack() as stack:
        engines = [stack.enter_context(FakeEngine(tmp_path / "run", number)) for number in range(2)]
        stack.enter_context(Ledger(tmp_path))
        gateway = stack.enter_context(Gateway(tmp_path, VITRINE_ROUTING="round-robin"))
        key = gateway.create_key()
        for _ in range(10):
            assert gateway.request("POST", "/v1/chat/completions", key=key, body=question()).status == 200
        assert [len(engine.bodies) for engine in engines] == [5, 5]
