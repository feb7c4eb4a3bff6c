"""Where sentences begin and end, by punctuation alone."""

import re

#: Words before whose full stop no sentence ends.
_ABBREVIATED = frozenset(
    [
        "e.g",
        "i.e",
        "etc",
        "vs",
        "cf",
        "al",
        "fig",
        "figs",
        "tab",
        "sec",
        "eq",
        "no",
        "nr",
        "vol",
        "pp",
        "p",
        "dr",
        "mr",
        "mrs",
        "ms",
        "prof",
        "st",
        "jr",
        "sr",
        "inc",
        "ltd",
        "co",
        "approx",
        "resp",
        "z.b",
        "d.h",
        "bzw",
        "ca",
        "usw",
    ]
)
_END = re.compile(
    r"(?P<stop>[.!?…]+[\"'”’)\]]*)(?=\s+[\"'“‘(\[]?[A-Z0-9À-ÖØ-ÞΑ-ΩА-Я`<-])|[。！？]+[」』”]*"
    r"|\n[ \t]*\n|\n(?=[ \t]*(?:[-*•–]|\d{1,3}[.)])[ \t])"
)
_LAST = re.compile(r"[\w.]+$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, without the white space around it.

    A sentence ends at a stop before white space and a capital, figure or quotation mark; at a stop
    of Chinese or Japanese; before a blank line; and before the next point of a list. No sentence
    ends behind an initial or a common abbreviation. All characters that are no white space lie in
    exactly one sentence.

    Examples
    --------
    >>> text = "It costs 3.5 crowns, e.g. Two of them. See Fig. 4 below."
    >>> [text[a:b] for a, b in sentence_spans(text)]
    ['It costs 3.5 crowns, e.g. Two of them.', 'See Fig. 4 below.']
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for found in _END.finditer(text):
        stop = found.group("stop")
        if stop == "." and _abbreviated(text[max(0, found.start() - 12) : found.start()]):
            continue
        end = found.end() if stop or found.group().strip() else found.start()
        _add(spans, text, start, end)
        start = found.end()
    _add(spans, text, start, len(text))
    return spans


def sentences(text: str) -> list[str]:
    """The sentences of a text, each on one line."""
    return [" ".join(text[start:end].split()) for start, end in sentence_spans(text)]


def _add(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    held = text[start:end]
    if held.strip():
        spans.append((start + len(held) - len(held.lstrip()), start + len(held.rstrip())))


def _abbreviated(before: str) -> bool:
    word = _LAST.search(before)
    if word is None:
        return False
    said = word.group()
    return said.lower() in _ABBREVIATED or (len(said) == 1 and said.isupper())
