"""By what a name is found: its words, or in scripts without blanks its pairs of neighbouring characters."""

import re
import unicodedata

# Han, kana, Hangul: written without blanks between the parts of a name.
_UNSPACED = (
    r"[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\U00020000-\U0003ffff]"
)
_RUNS = re.compile(f"({_UNSPACED}+)|((?:(?!{_UNSPACED})[^\\W_])+)")
_APOSTROPHES = re.compile(r"['’ʼ`·•]")
_ACCENTS = re.compile(r"[\u0300-\u036f]")


def terms(name: str) -> list[str]:
    """What a name is found by, sorted; the same for the name that is kept and the name that is looked for.

    ``"Müller-Lüdenscheidt, Anna"`` → anna, ludenscheidt, muller: whole words in any order, without case and accents.
    ``"王小芳"`` → 小芳, 王小: so 王小芳, 小芳 and 王小 find it, 芳 does not. A single character is kept only where it is
    all there is: surnames alone are so few that equal tokens would give them away.
    """
    folded = unicodedata.normalize("NFKC", _APOSTROPHES.sub("", name)).casefold()
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", folded)))
    found: set[str] = set()
    for run, word in _RUNS.findall(plain):
        if word:
            found.add(word)
        elif len(run) == 1:
            found.add(run)
        else:
            found.update(run[at : at + 2] for at in range(len(run) - 1))
    return sorted(found)
