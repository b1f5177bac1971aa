"""The page of the answer's fields is what the schemas and rules say."""

from __future__ import annotations

import pytest

from serving.docs import answer_markdown


def test_the_page_of_the_answer_is_up_to_date(pytestconfig: pytest.Config) -> None:
    assert (pytestconfig.rootpath / "docs" / "answer.md").read_text() == answer_markdown()
