"""What is said about a picture is what its pixels show, and training never meets the held-out combinations."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from miniature import describing, dialogue, exam, pairs, questions, reading
from miniature.conversation import Turn
from miniature.drawing import PAINTS, load_fonts, paint_scene, paint_text
from miniature.scene import GRID, HELD_OUT, Scene, held_out, make_shape, place_class, random_scene, size_class
from miniature.words import COLOURS, LANGUAGES, PLACES, SHAPES, Language

SIZE = (336, 336)
# A picture of known content: a small red circle on the left, a large blue square on the right, a small red star below.
KNOWN = Scene(
    *SIZE,
    (
        make_shape("circle", "red", 60, 168, 40, 40, SIZE),
        make_shape("square", "blue", 270, 168, 110, 110, SIZE),
        make_shape("star", "red", 168, 290, 45, 45, SIZE),
    ),
)


@pytest.mark.parametrize("seed", range(40))
def test_the_pixels_show_what_the_scene_says(seed: int) -> None:
    random = Random(seed)
    scene = random_scene(random, *SIZE, judged=bool(seed % 2))
    picture = paint_scene(random, scene, worn=False)
    for shape in scene.shapes:
        seen = picture.getpixel((int(shape.centre[0]), int(shape.centre[1])))
        assert isinstance(seen, tuple)
        # The middle of a star's or a triangle's box lies inside it; its paint is nearest to the colour told.
        distance = {
            colour: min(sum((a - b) ** 2 for a, b in zip(seen, paint, strict=True)) for paint in paints)
            for colour, paints in PAINTS.items()
        }
        assert min(distance, key=lambda colour: distance[colour]) == shape.colour
        assert shape.place == place_class(shape.centre[0] / 336, shape.centre[1] / 336)


def test_the_same_seed_makes_the_same_picture_and_words() -> None:
    fonts = load_fonts(Path(), (32,))
    makers: tuple[Callable[[Random], dialogue.Sample], ...] = (
        lambda random: dialogue.scene_sample(random, SIZE),
        lambda random: dialogue.text_sample(random, SIZE, fonts),
        lambda random: dialogue.pair_sample(random, SIZE),
        lambda random: dialogue.counting_sample(random, SIZE, fonts),
        dialogue.talk_sample,
    )
    for make in makers:
        one, two = make(Random(7)), make(Random(7))
        assert one.conversation == two.conversation
        assert [picture.tobytes() for picture in one.pictures] == [picture.tobytes() for picture in two.pictures]


def test_training_never_makes_a_held_out_combination() -> None:
    random = Random(1)
    for number in range(400):
        maker = dialogue.pair_sample if number % 2 else dialogue.scene_sample
        for scene in maker(random, (140, 140)).scenes:
            assert not any(held_out(shape.kind, shape.colour, shape.place) for shape in scene.shapes)


def test_every_judged_picture_holds_a_held_out_combination() -> None:
    assert 0.05 < len(HELD_OUT) / (len(SHAPES) * len(COLOURS) * len(PLACES)) < 0.2
    random = Random(2)
    for _ in range(100):
        scene = random_scene(random, *SIZE, judged=True)
        assert any(held_out(shape.kind, shape.colour, shape.place) for shape in scene.shapes)


def test_the_plainest_combinations_are_trained() -> None:
    for kind in ("circle", "square"):
        for colour in ("red", "blue", "green", "yellow"):
            for place in ("left", "right"):
                assert not held_out(kind, colour, place)


def test_a_known_scene_is_told_in_both_languages() -> None:
    assert describing.description(KNOWN, "en") == (
        "A small red circle on the left, a large blue square on the right, a small red star at the bottom."
    )
    assert (
        describing.description(KNOWN, "zh")
        == "左边有一个红色的小圆形，右边有一个蓝色的大正方形，下方有一个红色的小五角星。"
    )
    assert describing.as_json(KNOWN).startswith(
        '{"shapes":[{"shape":"circle","color":"red","size":"small","position":"left"}'
    )


def _answers(asker: questions.Asker, language: Language) -> set[str]:
    turns = (asker(Random(seed), KNOWN, language) for seed in range(300))
    return {turn.answer for turn in turns if turn}


def test_counts_are_true() -> None:
    told = _answers(questions.how_many, "en")
    assert {"There are 3 shapes.", "There are 2 red shapes.", "There is 1 circle.", "There are 0 crosses."} <= told
    assert not told & {"There are 2 shapes.", "There is 1 red shape.", "There are 0 circles.", "There is 1 cross."}


def test_places_sizes_and_sides_are_true() -> None:
    assert _answers(questions.where, "en") == {
        "The circle is on the left.",
        "The red circle is on the left.",
        "The square is on the right.",
        "The blue square is on the right.",
        "The star is at the bottom.",
        "The red star is at the bottom.",
    }
    assert "The blue square is bigger." in _answers(questions.bigger, "en")
    assert "The red circle is bigger." not in _answers(questions.bigger, "en")
    assert "Yes, the red circle is to the left of the blue square." in _answers(questions.beside, "en")
    assert "Yes, the red circle is to the right of the blue square." not in _answers(questions.beside, "en")


def test_an_absent_shape_is_never_said_to_be_there() -> None:
    for answer in _answers(questions.is_there, "en"):
        there = any(
            f"{what}." in answer for what in ("red circle", "blue square", "red star", "a circle", "a star", "a square")
        )
        assert answer.startswith("Yes") == (
            there or answer in ("Yes, there is a red shape.", "Yes, there is a blue shape.")
        )


def test_boxes_lie_around_the_shape_on_the_grid_of_a_thousand() -> None:
    assert KNOWN.told_box(KNOWN.shapes[0]) == (120, 440, 240, 560)
    for shape in KNOWN.shapes:
        true = tuple(edge * GRID / 336 for edge in shape.box)
        assert exam.overlap(tuple(float(edge) for edge in KNOWN.told_box(shape)), true) > 0.9


def test_size_classes_part_where_they_say() -> None:
    assert [size_class(extent) for extent in (0.1, 0.2, 0.35)] == ["small", "medium", "large"]


def test_pictures_are_compared_truly() -> None:
    one = Scene(*SIZE, KNOWN.shapes[:1])
    turn = pairs.more_shapes(Random(5), (one, KNOWN), "en")
    assert turn.answer in (
        "The second picture has more shapes.",
        "Both pictures have the same number of circles.",
        "The second picture has more stars.",
        "The second picture has more squares.",
    )
    assert pairs.describe_both(Random(0), (one, KNOWN), "en").answer.startswith("First picture: A small red circle")


def test_a_text_is_painted_whole() -> None:
    fonts = load_fonts(Path(), (40,))
    picture = paint_text(Random(3), "HELLO", SIZE, fonts, worn=False)
    edge = {picture.getpixel((x, y)) for x in range(336) for y in (0, 335)}
    assert len(picture.getcolors(1 << 20) or []) > len(edge)
    assert all(len(reading.random_text(Random(seed), judged=True)) <= 6 for seed in range(300))


def test_the_exam_is_the_same_every_time_and_judges_the_truth_right_and_a_lie_wrong() -> None:
    first, second = (list(exam.cases(1, 4, Path("none"))) for _ in range(2))
    assert [case.truth for case in first] == [case.truth for case in second]
    for case in first:
        wanted = (
            case.truth.conclusion if case.skill == "result" else case.truth.answer.removeprefix(case.truth.lead).strip()
        )
        calls = [] if case.skill == "result" else case.truth.calls
        true = exam.ExamAnswer(
            wanted, "because", [(c.name, {k: str(v) for k, v in c.arguments.items()}) for c in calls]
        )
        assert exam.right(case, true)
        assert not exam.right(case, exam.ExamAnswer("something else", "because"))
        if case.thinking:
            assert not exam.right(case, exam.ExamAnswer(true.text, "", true.calls))


def test_a_raw_answer_is_taken_apart_as_the_parsers_do() -> None:
    raw = "<think>hm</think>\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"
    assert exam.parse(raw) == exam.ExamAnswer("", "hm", [("f", {"a": "1"})])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_scene_answers_some_question(language: Language) -> None:
    for seed in range(50):
        turn: Turn = questions.ask(Random(seed), random_scene(Random(seed), *SIZE), language)
        assert turn.question
        assert turn.answer
