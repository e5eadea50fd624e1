"""What a step may hold: never longer than its room but for what must not starve, never less for more room."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.pace import LEAST_TOKENS, Budget, Costs, Pace, Prompt, Speed, plan, read

PHOTO = Prompt(664, ((20, 600),))
PAGE = Prompt(4864, ((20, 4800),))
COSTS = Costs()


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    images = []
    place = 0
    for size in draw(st.lists(st.integers(1, 5000), max_size=3)):
        place += draw(st.integers(0, 300))
        images.append((place, size))
        place += size
    return Prompt(place + draw(st.integers(1, 3000)), tuple(images))


costs = st.builds(
    Costs,
    token=st.floats(0.001, 0.5),
    embedding=st.floats(0, 0.5),
    image=st.floats(0, 20),
)
queues = st.lists(prompts(), min_size=1, max_size=6)
rooms = st.floats(-50, 200)


def price(costs: Costs, budget: Budget) -> float:
    return costs.prefill(budget.tokens, budget.embeddings, budget.images)


@given(rooms, costs, queues)
def test_a_step_takes_no_longer_than_its_room_but_for_one_image_and_the_least_tokens(
    room: float, costs: Costs, queue: list[Prompt]
) -> None:
    held = plan(room, costs, queue)
    one = costs.prefill(0, held.embeddings, 1) if held.images == 1 else 0.0
    assert price(costs, held) <= max(room, one, 0) + costs.prefill(LEAST_TOKENS, 0, 0) + 1e-6


@given(rooms, costs, queues)
def test_every_prompt_is_worked_off_in_a_number_of_steps_that_its_tokens_and_images_bound(
    room: float, costs: Costs, queue: list[Prompt]
) -> None:
    steps = sum(prompt.tokens // LEAST_TOKENS + 2 + len(prompt.images) for prompt in queue)
    while queue:
        held = plan(room, costs, queue)
        assert held.tokens
        queue = after(queue, held)
        steps -= 1
        assert steps >= 0


def after(queue: list[Prompt], held: Budget) -> list[Prompt]:
    """What is left when an engine has done as planned: tokens in order, images as they are reached."""
    left, tokens, embeddings = [], held.tokens, held.embeddings
    for prompt in queue:
        taken = min(tokens, prompt.tokens)
        images: list[tuple[int, int]] = []
        for before, size in prompt.images:
            if before <= taken and size <= embeddings and not images:
                embeddings -= size
            else:
                taken = min(taken, before)
                images.append((before, size))
        tokens -= taken
        if taken < prompt.tokens:
            left.append(Prompt(prompt.tokens - taken, tuple((max(at - taken, 0), size) for at, size in images)))
            tokens = 0
    return left


@given(st.tuples(rooms, rooms), costs, queues)
def test_more_room_is_never_less_of_anything(two: tuple[float, float], costs: Costs, queue: list[Prompt]) -> None:
    small, large = (plan(room, costs, queue) for room in sorted(two))
    assert small.tokens <= large.tokens
    assert small.embeddings <= large.embeddings
    assert small.images <= large.images


@given(rooms, costs, queues)
def test_who_comes_later_takes_nothing_from_who_came_first(room: float, costs: Costs, queue: list[Prompt]) -> None:
    plans = [plan(room, costs, queue[:count]) for count in range(1, len(queue) + 1)]
    assert all(fewer.tokens <= more.tokens and fewer.embeddings <= more.embeddings for fewer, more in pairwise(plans))


def test_a_photo_an_answer_waits_beside_is_whole_on_a_fast_card_and_two_are_where_they_fit() -> None:
    pace = Pace(45.0)
    speed = Speed(COSTS)
    assert pace.between(3, 3, [PHOTO], speed) == Budget(664, 600, 1)
    assert pace.between(3, 3, [PHOTO] * 4, speed) == Budget(1348, 1200, 2)
    # Beside 200 answers the room is 3.5 ms less.
    assert pace.between(200, 200, [PHOTO] * 4, speed) == Budget(1348, 1200, 2)


def test_a_photo_is_cut_on_a_slow_card() -> None:
    slow = Speed(COSTS, answers=2.0, prefill=3.0)
    held = Pace(45.0).between(10, 10, [PHOTO] * 2, slow)
    assert held == Budget(255, 600, 1)


def test_nobody_waits_so_a_step_is_not_bounded() -> None:
    assert Pace().between(0, 0, [PAGE], Speed(COSTS)) is None


def test_a_page_is_encoded_with_next_to_nothing_else_and_waits_for_prompts_before_it() -> None:
    assert plan(40.0, COSTS, [PAGE, PHOTO]) == Budget(LEAST_TOKENS, 4800, 1)
    assert plan(40.0, COSTS, [PHOTO, PAGE]) == Budget(664 + 20, 600, 1)


@pytest.mark.parametrize("real", [0.5, 1.0, 4.0])
def test_a_machine_is_known_after_some_hundred_steps(real: float) -> None:
    speed = Speed(COSTS)
    held = Budget(664, 600, 1)
    for _ in range(200):
        speed.learn(100, Budget(0, 0), COSTS.answers(100) * 1.5)
        speed.learn(101, held, COSTS.answers(101) * 1.5 + price(COSTS, held) * real)
    assert speed.answers == pytest.approx(1.5, rel=0.02)
    assert speed.prefill == pytest.approx(real, rel=0.02)
    assert speed.now().embedding == pytest.approx(COSTS.embedding * real, rel=0.02)


def test_a_pause_of_the_machine_hardly_changes_what_is_known() -> None:
    speed = Speed(COSTS)
    speed.learn(10, Budget(0, 0), 60_000.0)
    speed.learn(10, Budget(664, 600, 1), 60_000.0)
    speed.learn(10, Budget(8, 0), 60_000.0)  # too little to tell
    assert (speed.answers, speed.prefill) == pytest.approx((1.05, 1.05))


def test_a_pace_is_read_from_json() -> None:
    assert read("") == read("{}") == Pace()
    assert read('{"target_ms": 30, "token": 0.05, "learn": false}') == Pace(30, Costs(token=0.05), learn=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"VITRINE_PACE = '\{' is no JSON .*; write an object of numbers"),
        ("[]", r"VITRINE_PACE = '\[\]': expected an object of numbers"),
        ('{"tokens": 1}', "unknown name 'tokens'; expected one of base, embedding, image, sequence, target_ms, token"),
        ('{"token": 0}', "token = 0: expected milliseconds, 0.0001 to 10000"),
        ('{"image": true}', "image = True: expected milliseconds, 0 to 10000"),
        ('{"target_ms": "45"}', "target_ms = '45': expected milliseconds"),
        ('{"target_ms": NaN}', "target_ms = nan: expected milliseconds"),
        ('{"learn": 1}', "learn = 1: expected true or false"),
    ],
)
def test_a_fault_of_a_pace_is_told_with_name_and_value(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(text)
