"""Deliberate errors are made in every file of the method, and those once missed are still errors of the sources."""

from functools import cache

from benchmarks.mutating.harmless import HARMLESS, spelling, why_harmless
from benchmarks.mutating.mutants import mutants
from benchmarks.mutating.named import NAMED
from benchmarks.mutating.tested import METHOD, ROOT, TESTS


def test_every_named_mutation_is_one_of_the_sources_as_they_are():
    for named in NAMED:
        source = (ROOT / named.file).read_text()
        assert source.count(named.before) == 1, named.name
        compile(source.replace(named.before, named.after), named.file, "exec")


def test_every_file_of_the_method_is_changed_and_has_tests_that_exist():
    files = {path.relative_to(ROOT).as_posix() for folder in METHOD for path in (ROOT / "lrp3d" / folder).glob("*.py")}
    assert sorted(file for file in files - set(TESTS) if not file.endswith("__init__.py")) == []
    assert sorted(file for file in TESTS if not (ROOT / file).exists()) == []
    assert sorted({test for tests in TESTS.values() for test in tests if not (ROOT / test).exists()}) == []


@cache
def changes_of(file):
    """Every line of a file with what can be changed in it."""
    source = (ROOT / file).read_text()
    lines = source.splitlines()
    return {(lines[mutant.line - 1].strip(), spelling(mutant.change)) for mutant in mutants(source)}


def test_what_is_called_harmless_can_still_be_changed():
    for file, line, change in HARMLESS:
        assert (line, spelling(change)) in changes_of(file), f"{file}: {line}"
        assert why_harmless(file, line, change)
