"""Passwords that everybody thinks of: what is tried first, however long it is made.

Breached passwords of ten letters and more are a few words with digits behind them, runs along the
keyboard and short parts repeated; so the words are listed and their disguises taken off.

Source: NIST SP 800-63B-4, 3.1.1.2 (compare with values known to be commonly used, expected or
compromised; demand no mixture of kinds of characters).
"""

from __future__ import annotations

import re

# What is left of a guess when the digits and signs around it are gone, and disguises undone.
_LISTED = """
abc abcabc access account admin administrator adobe adminadmin alexander america amanda andrea
andrew angel angels anthony apple arsenal asdf asdfasdf ashley autumn azerty babygirl bailey
barcelona baseball basketball batman beautiful benjamin blink brandon butterfly changeit
changeme charlie cheese chelsea chocolate christian cocacola computer cookie corvette cowboys
daniel danielle default demo diamond dolphin dragon elephant elizabeth enter eminem facebook
family ferrari flower football forever freedom friend friends garfield gemini george ginger
google guest hannah happy harley heather hello hellokitty helloworld hockey hunter iloveme
iloveu iloveyou info internet jackson jasmine jennifer jessica jesus jonathan jordan joshua
justin killer killme killua kitty korea lakers letmein liverpool london login lovely loveme
lover loveyou lucky maggie manager manchester marlboro martin master matrix matthew melissa
mercedes merlin metallica michael michelle minecraft mickey monkey monster mustang mypassword
naruto natasha nathan newpassword nicholas nicole nirvana nothing oliver oracle orange panther
parola pass passw passwd passport passwort password passwordpassword patrick peanut pepper
phoenix pokemon princess private purple qazwsx qwer qwert qwerty qwertyqwerty rainbow ranger
raspberry realmadrid richard robert root samantha samsung samsungsamsung scooter secret seoul
sepultura server service shadow silver slipknot snoopy soccer softball spiderman spring starwars
station steelers stella summer sunshine superman superstar support system taylor tenantry tennis
test tester testing testtest thomas thunder tigger trustno ubnt universe user vanessa victoria
warcraft welcome whatever william windows winter xbox yankees yellow zxcv
사랑해 비밀번호 비번 대한민국 안녕하세요
"""
_WORDS = frozenset(_LISTED.split())
_DISGUISES = str.maketrans({"@": "a", "4": "a", "3": "e", "1": "i", "!": "i", "0": "o", "$": "s",
                            "5": "s", "7": "t"})  # fmt: skip
_ROWS = (
    *("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./"),
    *("azertyuiop", "qwertzuiop", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/", "qazwsxedcrfvtgbyhn"),
    *("1q2w3e4r5t6y7u8i9o0p", "!@#$%^&*()", "q1w2e3r4t5y6u7i8o9p0"),
)
_RUN_MIN = 4
_REPEATED_MAX = 6


def is_common(password: str) -> bool:
    """This function will tell whether a password is among those that are tried first.

    It is if nothing is left of it but one word that everybody thinks of, or a run along a row of
    the keyboard, or a short part said again and again; digits and signs alone are dates.
    """
    plain = password.lower()
    return any(
        _is_word(part) or _is_run(part) or not part
        for part in (plain, plain.strip("0123456789 !?.,-_*#@$%^&+=~"), _once(plain))
    )


def is_made_of(password: str, email: str) -> bool:
    """This function will tell whether a password is an e-mail address, or half of it, and digits.

    An address is the first thing that is known of whoever signs in.
    """
    name, _, domain = email.lower().partition("@")
    bare = _bare(password)
    return bool(bare) and bare in {
        _bare(part) for part in (email, name, domain, domain.partition(".")[0])
    }


def _bare(text: str) -> str:
    """Letters alone, and digits only among them."""
    return re.sub(r"^\d+|\d+$", "", re.sub(r"[\W_]", "", text.lower()))


def _is_word(text: str) -> bool:
    letters = re.sub(r"[\W\d_]", "", text)
    undone = re.sub(r"[\W\d_]", "", text.translate(_DISGUISES))
    return letters in _WORDS or undone in _WORDS


def _is_run(text: str) -> bool:
    bare = text.replace(" ", "")
    return len(bare) >= _RUN_MIN and any(bare in row * 2 or bare in row[::-1] * 2 for row in _ROWS)


def _once(text: str) -> str:
    """The part that a text repeats, or the text."""
    found = re.fullmatch(rf"(.{{1,{_REPEATED_MAX}}}?)\1+", text)
    return found[1] if found else text
