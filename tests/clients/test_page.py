"""The page of clients: what a run of some of them leaves and replaces."""

from pathlib import Path

from clients.outcomes import Outcome, cases, matrix

from clients import page


def outcome(client: str, operation: str, case: str, version: str = "1") -> Outcome:
    return Outcome(client=client, version=version, operation=operation, case=case, state="ok")


OLD = [outcome("a", "chat", "x"), outcome("a", "errors", "y"), outcome("b", "info", "z")]


def test_a_run_of_all_makes_the_tables_anew() -> None:
    for table in (matrix, cases):
        assert page.merged("", table(OLD)) == table(OLD)
        assert page.merged(table(OLD), table(OLD)) == table(OLD)
        assert page.merged(table(OLD), table(OLD[::-1])) == table(OLD[::-1])


def test_a_run_of_some_replaces_their_rows_and_leaves_the_others() -> None:
    new = [outcome("a", "chat", "w", "2"), outcome("c", "types", "v")]
    both = [new[0], OLD[2], new[1]]
    for table in (matrix, cases):
        assert page.merged(table(OLD), table(new)) == table(both)


def test_the_page_as_it_is_can_be_written_again(tmp_path: Path) -> None:
    copy = tmp_path / "clients.md"
    text = page.PAGE.read_text("utf-8")
    copy.write_text(text, "utf-8")
    page.write([outcome("new", "chat", "it works")], copy)
    written = copy.read_text("utf-8")
    assert "| new | it works | packaged models | ok |" in written
    assert [line for line in text.splitlines() if line not in written.splitlines()] == []
