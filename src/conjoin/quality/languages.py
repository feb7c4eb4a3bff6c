"""Languages of one script, told where the library ``eld`` is installed; without it, scripts alone.

A text's language is taken to be another than that of most texts only where it reads so clearly
more like it: its score must be :data:`MARGIN` above that of the most frequent language. Even so a
few texts in a thousand are taken for another language, so a language is told only as far as its
texts are more than that.
"""

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from conjoin.errors import optional
from conjoin.quality.finding import KINDS, Finding

#: Letters a text must have, and by how much another language's score must exceed the usual one's.
LETTERS, MARGIN = 20, 0.3
#: Share of texts that are taken for some one other language by mistake, and fewest that are told.
MISTAKEN, FEWEST = 0.003, 3
#: Texts that are read, drawn evenly.
READ = 20_000
#: Scripts that many languages share.
SHARED = frozenset({"LATIN", "CYRILLIC", "ARABIC", "DEVANAGARI", "HEBREW", "BENGALI"})
#: What is said where languages were not told apart.
WITHOUT = (
    "texts are told apart by script, not by language; for languages: "
    'pip install "conjoin[language]"'
)

NAMES = {
    "am": "Amharic", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bg": "Bulgarian",
    "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "is": "Icelandic", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "kn": "Kannada", "ko": "Korean", "ku": "Kurdish",
    "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian", "ml": "Malayalam", "mr": "Marathi",
    "ms": "Malay", "nl": "Dutch", "no": "Norwegian", "or": "Odia", "pa": "Punjabi",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip


def installed() -> bool:
    """Whether languages can be told."""
    return find_spec("eld") is not None


def languages(
    name: str, ids: Sequence[str], words: Sequence[str], main: Sequence[str], minor: float,
    seed: int = 0,
) -> tuple[list[Finding], dict[str, Any]]:  # fmt: skip
    """Texts of a modality in a minority language, and how many there are of each language.

    Confidence is one less the share of a language's texts to expect by mistake alone.

    Parameters
    ----------
    main : the script of each text.
    minor : share up to which a language is a minority.

    Raises
    ------
    ConjoinError : the library is not installed.
    """
    detect = optional("eld", "language").LanguageDetector().detect
    long = [
        row for row, (text, script) in enumerate(zip(words, main, strict=True))
        if script in SHARED and sum(map(str.isalpha, text)) >= LETTERS
    ]  # fmt: skip
    if len(long) > READ:
        drawn = np.random.default_rng([seed, 43]).permutation(len(long))[:READ]
        long = [long[place] for place in np.sort(drawn).tolist()]
    read = []
    for row in long:
        one = detect(words[row])
        if one.is_reliable():
            read.append((row, one.language, one.scores()))
    usual = Counter((main[row], language) for row, language, _ in read)
    most = {script: lang for (script, lang), _ in reversed(usual.most_common())}
    of: dict[str, list[int]] = {}
    for row, language, scores in read:
        known = most[main[row]]
        clear = language == known or scores[language] - scores.get(known, 0.0) >= MARGIN
        of.setdefault(NAMES.get(language, language) if clear else "unsure", []).append(row)
    facts = {
        "read": len(long), "unsure": len(long) - len(read) + len(of.pop("unsure", [])),
        "languages": {lang: len(rows) for lang, rows in
                      sorted(of.items(), key=lambda entry: -len(entry[1]))},
    }  # fmt: skip
    if not of:
        return [], facts
    first = max(of, key=lambda language: len(of[language]))
    found = []
    for language, rows in of.items():
        count, sure = len(rows), 1 - MISTAKEN * len(long) / len(rows)
        if language == first or count < FEWEST or count > minor * len(long) or sure <= 0:
            continue
        evidence = {"language": language, "count": count, "share": round(count / len(long), 4),
                    "most": first, "read": len(long)}  # fmt: skip
        found.append(Finding("language", tuple(ids[row] for row in rows), name, float(sure), None,
                             evidence, KINDS["language"]))  # fmt: skip
    return found, facts
