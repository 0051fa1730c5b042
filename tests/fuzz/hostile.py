"""What is put in the place of something right."""

import copy
import json

STRANGE = [
    *("null", "true", "0", "-1", "7", "28.5", "1e999", "-1e999", "NaN", str(2**62), "1" + 400 * "0", "1" + 5000 * "0"),
    *('""', '"x"', '"\\ud800"', '"a\\nb"', '"a\\u0000b"', '"../a"', '"/dev/zero"', '"."', '"' + 50_000 * "x" + '"'),
    *("[]", "[[]]", "[null, 1]", "[" + "0," * 50_000 + "0]", 5000 * "[" + 5000 * "]"),
    *("{}", '{"a": {"b": 1}}', '{"\\udfff": 1}', 50 * '{"a":' + "0" + 50 * "}"),
]
"""JSON that is put in the place of any value."""

SEVERAL = [json.loads(text) for text in STRANGE if len(text) < 1000]
"""The short ones, parsed."""


def places(value, path=()):
    """Every way down into a JSON value, the empty one first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def with_value(value, path, new):
    """A JSON value with another one in one place."""
    if not path:
        return new
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


def replaced(value, path, text):
    """JSON of `value` with `text` in one place."""
    mark = "here it goes"
    return json.dumps(with_value(value, path, mark)).replace(f'"{mark}"', text)


def damaged(content, rng):
    """Bytes with a few flipped bits, a part that is gone, or one that is something else."""
    content = bytearray(content)
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 2, 4, 8, 64, 1000)))
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del content[start:]
    elif kind == 2:
        del content[start:end]
    elif kind == 3:
        content[start:end] = bytes([rng.choice((0, 0x7F, 0x80, 0xFF))]) * (end - start)
    elif kind == 4:
        content[start:start] = rng.randbytes(end - start)
    else:  # sizes stand at the beginning
        place = rng.randrange(min(len(content), 100))
        size = rng.choice((0, 1, 2**15, 2**31 - 1, 2**32 - 1)).to_bytes(4, rng.choice(("big", "little")))
        content[place : place + 4] = size
    return bytes(content)
