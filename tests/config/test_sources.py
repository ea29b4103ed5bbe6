"""Where values come from: the file itself, the environment, files beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from told import PROVIDER, only, problems_of

from gateway.config.load import load, parse
from gateway.config.problems import ConfigErrors


def test_a_missing_environment_variable_is_an_error_that_names_it() -> None:
    problem = only('[server]\nadmin_token = "env:ADMIN_TOKN"\n', {"ADMIN_TOKEN": "x"})
    assert problem.message == "the environment variable ADMIN_TOKN is not set"
    assert problem.hint == 'Did you mean "ADMIN_TOKEN"?'
    assert only('[server]\nadmin_token = "env:T"\n', {"T": ""}).message == "the environment variable T is empty"


def test_a_missing_variable_in_place_of_a_table_is_told_too() -> None:
    assert {problem.key for problem in problems_of('providers = "env:X"\nkeys = ["env:Y"]\n')} == {
        "providers",
        "keys[0]",
    }


def test_a_value_may_stand_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    config = parse('[server]\nadmin_token = "file:token"\n', "c", {}, tmp_path)
    assert config.server.admin_token == "s3cret"
    problem = problems_of('[server]\nadmin_token = "file:nowhere"\n', {}, tmp_path)[0]
    assert problem.message == "the file nowhere can't be read: No such file or directory"
    (tmp_path / "empty").write_text("\n")
    assert problems_of('[server]\nadmin_token = "file:empty"\n', {}, tmp_path)[0].message == "the file empty is empty"


def test_files_that_providers_name_start_at_the_configurations_folder_and_must_be_there(tmp_path: Path) -> None:
    text = PROVIDER + 'ca_file = "ca.pem"\n'
    problem = problems_of(text, {}, tmp_path)[0]
    assert (problem.key, problem.line) == ("providers.openai.ca_file", 4)
    assert problem.message == "the file ca.pem can't be read: No such file or directory"
    (tmp_path / "ca.pem").write_text("")
    assert parse(text, "c", {}, tmp_path).providers["openai"].ca_file == str(tmp_path / "ca.pem")


def test_a_file_that_is_absent_or_no_text_is_one_clear_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="can't be read: No such file or directory"):
        load(tmp_path / "none.toml", {})
    with pytest.raises(ConfigErrors, match="can't be read: Is a directory"):
        load(tmp_path, {})
    (tmp_path / "latin.toml").write_bytes(b"[server]\n# \xe9\n")
    with pytest.raises(ConfigErrors, match=r"latin\.toml:2: is not UTF-8 text"):
        load(tmp_path / "latin.toml", {})


def test_windows_line_ends_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbf[server]\r\nlisten = "127.0.0.1:9"\r\n')
    assert load(tmp_path / "c.toml", {}).server.listen == "127.0.0.1:9"
