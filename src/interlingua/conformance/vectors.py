"""Text and image embeddings: vectors, their encodings and their lengths."""

import base64
import binascii
import math
import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from .calls import Caller
from .case import Area, Case, Deviation, expect
from .declared import Declared
from .samples import ROUTES, asking, picture
from .shapes import Embeddings

Kind = Literal["embeddings", "image_embeddings"]

_FORMATS = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_INPUT_TYPES = ("text", "query", "document")
#: Vectors of the same input may differ by rounding in batches of other shapes.
_NEAR = 0.02
_MOST_LENGTHS = 3


def cases(caller: Caller, declared: Declared, kind: Kind) -> Iterator[Case]:
    """What must hold of a deployment that makes vectors."""
    area: Area = "embeddings" if kind == "embeddings" else "image embeddings"
    common = (
        ("the answer has its exact shape", _shape),
        ("vectors stand in the order of their inputs", _order),
        ("an input that is missing or empty is 422", _empty),
    )
    for name, run in common:
        yield Case(area=area, name=name, run=partial(run, caller, declared, kind))
    if kind == "embeddings":
        yield Case(area=area, name="one text by itself", run=partial(_one, caller, declared))
        run_many = partial(_too_many, caller, declared)
        skipped = "" if declared.ours else "a limit of this server's own"
        yield Case(area=area, name="more than 2,048 inputs are 422", run=run_many, skipped=skipped)
    else:
        run_text = partial(_text_beside, caller, declared)
        yield Case(area=area, name="text beside an image is taken, or 422", run=run_text)
        yield Case(
            area=area, name="what is no image is 4xx", run=partial(_no_image, caller, declared)
        )
    for encoding in _FORMATS:
        yield Case(
            area=area,
            name=f"encoding_format {encoding} is exact, or 422 and named",
            run=partial(_encoded, caller, declared, kind, encoding),
        )
    yield from _lengths(caller, declared, kind, area)
    if kind == "embeddings":
        for input_type in _INPUT_TYPES:
            yield Case(
                area=area,
                name=f"input_type {input_type} is taken, or 422 and named",
                run=partial(_typed, caller, declared, input_type),
            )


def _lengths(caller: Caller, declared: Declared, kind: Kind, area: Area) -> Iterator[Case]:
    known = declared.can.dimensions
    for length in sorted(known or ())[:_MOST_LENGTHS]:
        yield Case(
            area=area,
            name=f"dimensions {length}, which it declares, is the length",
            run=partial(_cut, caller, declared, kind, length),
        )
    yield Case(
        area=area,
        name="dimensions that it doesn't have are 422 and named",
        run=partial(_uncut, caller, declared, kind),
        skipped="" if known is not None else "it doesn't declare its dimensions",
    )


async def _ask(caller: Caller, declared: Declared, kind: Kind, **fields: Any) -> Embeddings:
    body = declared.body({**asking(kind), **fields})
    return (await caller.call(ROUTES[kind], body)).read(Embeddings)


async def _shape(caller: Caller, declared: Declared, kind: Kind) -> None:
    answer = await _ask(caller, declared, kind)
    expect(isinstance(answer.id, str), "there is no id")
    expect(len(answer.data) == 1, f"{len(answer.data)} vectors came for one input")
    vector = _floats(answer, 0)
    expect(len(vector) > 1 and any(vector), "the vector is empty")
    expect(answer.usage.prompt_tokens == answer.usage.total_tokens, f"it counted {answer.usage}")
    length = declared.can.embedding_length
    expect(length in {None, len(vector)}, f"it declares {length} numbers, and {len(vector)} came")


async def _order(caller: Caller, declared: Declared, kind: Kind) -> None:
    inputs: list[object] = (
        ["a cat", "the stock exchange of Lisbon", "a cat"]
        if kind == "embeddings"
        else [{"image": picture(shade)} for shade in (10, 240, 10)]
    )
    many = await _ask(caller, declared, kind, input=inputs)
    places = [vector.index for vector in many.data]
    expect(places == [0, 1, 2], f"the indexes are {places}")
    alone = _floats(await _ask(caller, declared, kind, input=inputs[1:2]), 0)
    first, second, third = (_floats(many, place) for place in range(3))
    expect(_near(first, third), "the same input has two vectors in one call")
    expect(_near(second, alone), "an input's vector is another one in company")
    expect(not _near(first, second), "two inputs have one vector")


async def _empty(caller: Caller, declared: Declared, kind: Kind) -> None:
    bodies: tuple[dict[str, object], ...] = ({}, {"input": []}, {"input": {"a": 1}})
    for fields in bodies:
        error = (await caller.call(ROUTES[kind], declared.body(fields))).error(422)
        expect(error.names("input"), f"{fields}: the error doesn't name input: {error}")


async def _one(caller: Caller, declared: Declared) -> None:
    alone = await _ask(caller, declared, "embeddings", input="a cat")
    listed = await _ask(caller, declared, "embeddings", input=["a cat"])
    expect(_near(_floats(alone, 0), _floats(listed, 0)), "a text has another vector in a list")


async def _too_many(caller: Caller, declared: Declared) -> None:
    got = await caller.call("/embeddings", declared.body({"input": ["a"] * 2049}))
    expect(got.error(422).names("input"), "the error doesn't name input")


async def _text_beside(caller: Caller, declared: Declared) -> None:
    body = declared.body({"input": [{"image": picture(), "text": "a grey square"}]})
    got = await caller.call("/images/embeddings", body)
    able = declared.can.image_text
    if able is True or (able is None and got.status == 200):
        got.read(Embeddings)
    else:
        expect(got.error(422).names("text"), "the error doesn't name text")


async def _no_image(caller: Caller, declared: Declared) -> None:
    for image in ("", "not an image", "file:///etc/passwd"):
        body = declared.body({"input": [{"image": image}]})
        (await caller.call("/images/embeddings", body)).error(400, 422)


async def _typed(caller: Caller, declared: Declared, input_type: str) -> None:
    got = await caller.call(
        "/embeddings", declared.body({**asking("embeddings"), "input_type": input_type})
    )
    known = declared.can.input_types
    able = None if known is None else input_type in known
    if declared.honours("input_type") is False:
        able = False
    if input_type == "text" and able is False:  # it asks for nothing, so it may be taken
        able = None
    _taken(input_type, taken=got.status == 200, able=able)
    if got.status != 200:
        expect(got.error(422, 400).names("input_type"), "the error doesn't name input_type")


def _taken(what: str, *, taken: bool, able: bool | None) -> None:
    said = "declares" if able else "doesn't declare"
    expect(
        able is None or able == taken, f"it {said} {what}, and {'takes' if taken else 'refuses'} it"
    )


async def _cut(caller: Caller, declared: Declared, kind: Kind, length: int) -> None:
    answer = await _ask(caller, declared, kind, dimensions=length)
    expect(len(_floats(answer, 0)) == length, f"{len(_floats(answer, 0))} numbers came")


async def _uncut(caller: Caller, declared: Declared, kind: Kind) -> None:
    got = await caller.call(ROUTES[kind], declared.body({**asking(kind), "dimensions": 7919}))
    expect(got.error(422).names("dimensions"), "the error doesn't name dimensions")


# -- Encodings ------------------------------------------------------------------------------


async def _encoded(caller: Caller, declared: Declared, kind: Kind, encoding: str) -> None:
    body = declared.body({**asking(kind), "encoding_format": encoding})
    got = await caller.call(ROUTES[kind], body)
    known = declared.can.encoding_formats
    able = None if known is None else encoding in known
    if declared.honours("encoding_format") is False:
        able = encoding == "float"
    _taken(encoding, taken=got.status == 200, able=able)
    if got.status != 200:
        expect(got.error(422, 400).names("encoding_format"), "the error doesn't name it")
        return
    plain = _floats(await _ask(caller, declared, kind), 0)
    embedding = got.read(Embeddings).data[0].embedding
    match encoding:
        case "float":
            pass
        case "base64":
            expect(_near(_unpacked(embedding), plain), "base64 isn't little-endian float32")
        case "int8" | "uint8":
            low = -128 if encoding == "int8" else 0
            _check_integers(embedding, low, len(plain))
        case _:
            low = -128 if encoding == "binary" else 0
            bits = [number - low for number in _check_integers(embedding, low, len(plain) // 8)]
            due = [
                int("".join("01"[n > 0] for n in plain[i : i + 8]), 2)
                for i in range(0, len(bits) * 8, 8)
            ]
            wrong = sum((one ^ other).bit_count() for one, other in zip(bits, due, strict=True))
            # A number near 0 may fall on the other side in another batch.
            expect(wrong <= len(plain) // 50, f"{wrong} of {len(plain)} sign bits are wrong")


def _check_integers(embedding: str | Sequence[float], low: int, length: int) -> list[int]:
    expect(not isinstance(embedding, str), "the vector is a text, not a list")
    numbers = [int(number) for number in embedding]
    whole = all(number == given for number, given in zip(numbers, embedding, strict=True))
    expect(whole and all(low <= n <= low + 255 for n in numbers), "a number is out of its range")
    expect(len(numbers) == length, f"{len(numbers)} numbers came, {length} were due")
    return numbers


def _unpacked(embedding: str | Sequence[float]) -> tuple[float, ...]:
    expect(isinstance(embedding, str), "the vector isn't base64")
    try:
        data = base64.b64decode(str(embedding), validate=True)
        return struct.unpack(f"<{len(data) // 4}f", data)
    except (binascii.Error, struct.error) as error:
        raise Deviation(f"the vector isn't base64 of float32: {error}") from error


def _floats(answer: Embeddings, place: int) -> tuple[float, ...]:
    vector = answer.data[place].embedding
    expect(not isinstance(vector, str), "the vector isn't a list of numbers")
    return tuple(float(number) for number in vector)


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    if len(one) != len(other):
        return False
    distance = math.dist(one, other)
    length = math.hypot(*one)
    return distance <= _NEAR * max(length, 1e-9)
