"""Every deliberate error that the tests must notice is still an error of the sources as they are."""

from benchmarks.mutations import NAMED, ROOT, TESTS


def test_every_named_mutation_is_one_of_the_sources_as_they_are():
    for named in NAMED:
        source = (ROOT / named.file).read_text()
        assert source.count(named.before) == 1, named.name
        compile(source.replace(named.before, named.after), named.file, "exec")
    assert all((ROOT / file).exists() for tests in TESTS.values() for file in tests)
