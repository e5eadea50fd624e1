# mypy: ignore-errors
"""DSPy."""

from picture_form import Shape
from tasks import DATA_URL, FIRST, KEY, MODEL, SECOND, URL, WHAT, WHO, asked, perform, seen

# configuration
import dspy

lm = dspy.LM(
    f"openai/{MODEL}",
    api_base=URL,
    api_key=KEY,
    temperature=0,
    max_tokens=128,
    cache=False,
)
dspy.configure(lm=lm, adapter=dspy.JSONAdapter())
# end


class Describe(dspy.Signature):
    """Describe the picture."""

    picture: dspy.Image = dspy.InputField()
    shapes: list[Shape] = dspy.OutputField()


def answer(messages):
    (said,) = lm(messages=messages)
    return said if isinstance(said, str) else said["text"]


def second_turn():
    messages = [seen(FIRST)]
    messages += [{"role": "assistant", "content": answer(messages)}, asked(SECOND)]
    return answer(messages)


def schema():
    found = dspy.Predict(Describe)(picture=dspy.Image(DATA_URL))
    return {"shapes": [shape.model_dump() for shape in found.shapes]}


perform(
    {
        "chat": lambda: answer([asked(WHO)]),
        "image": lambda: answer([seen(WHAT)]),
        "second turn": second_turn,
        "schema": schema,
    }
)
