"""The fields of forms, however their lines end, as what a provider may take them for."""

from __future__ import annotations

import pytest

from gateway.wire import dialects
from gateway.wire.facts import Facts

TYPE = b'multipart/form-data; boundary="b"'
PATH = b"/v1/images/edits"


def part(name: str, value: str, end: str) -> str:
    return f'--b{end}Content-Disposition: form-data; name="{name}"{end}{end}{value}{end}'


def picture(end: str, inside: str = "GIF89a") -> str:
    head = f'Content-Disposition: form-data; name="image"; filename="a.gif"{end}Content-Type: image/gif{end}'
    return f"--b{end}{head}{end}{inside}{end}"


def read(*parts: str, last: str = "\r\n") -> Facts:
    return dialects.get("openai").read(b"POST", PATH, TYPE, ("".join(parts) + f"--b--{last}").encode())


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_forms_fields_are_read_whether_its_lines_end_with_or_without_a_cr(end: str) -> None:
    facts = read(
        picture(end), part("model", "gpt-image-1", end), part("prompt", "", end), part("n", "4", end), last=end
    )
    assert (facts.model, facts.choices, facts.malformed) == ("gpt-image-1", 4, "")


@pytest.mark.parametrize("ends", [("\r\n", "\n"), ("\n", "\r\n")])
def test_lines_of_one_form_may_end_differently(ends: tuple[str, str]) -> None:
    facts = read(picture(ends[0]), part("model", "gpt-image-1", ends[1]), part("n", "4", ends[0]))
    assert (facts.model, facts.choices, facts.malformed) == ("gpt-image-1", 4, "")


@pytest.mark.parametrize(("outer", "inner"), [("\r\n", "\n"), ("\n", "\r\n")])
def test_a_form_that_names_another_model_to_another_reader_is_refused(outer: str, inner: str) -> None:
    hidden = inner + part("model", "gpt-image-1.5", inner)
    facts = read(part("model", "gpt-image-1-mini", outer), picture(outer, "GIF89a" + hidden))
    assert facts.malformed == "The form names more than one model."


def test_a_value_keeps_its_own_lines() -> None:
    facts = read(part("prompt", "--b\r--b", "\r\n"), part("model", "gpt\n-image", "\r\n"))
    assert facts.model == "gpt\n-image"
