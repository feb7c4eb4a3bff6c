"""The list of skips that a complete machine may have."""

from conftest import ROOT, _skips, listed


def test_every_line_names_a_file_that_skips_for_that_reason():
    stale = []
    for where, reason in _skips():
        if "*" in where:  # the reason is another package's
            continue
        path = ROOT / where
        if not path.exists() or reason not in path.read_text(encoding="utf-8"):
            stale.append(f"{where}: {reason}")
    assert stale == []


def test_a_skip_is_listed_by_its_file_and_the_start_of_its_reason():
    assert listed("tests/laws/test_map_laws.py::test_x[a]", "Skipped: takes any width")
    assert not listed("tests/laws/test_map_laws.py::test_x[a]", "Skipped: no takes any width")
    assert not listed("tests/test_serve_page.py", "Skipped: no chromium here")
    assert not listed("tests/test_maps.py::test_x", "Skipped: takes any width")
