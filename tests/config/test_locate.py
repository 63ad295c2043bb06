from monitor.config.locate import locate

TEXT = """\
title = "x"
"quoted-key" = 1

[provider]
kind = "files"   # kind = "no"

[[checks]]
name = "a"
[[checks]]
  name = "b"
symbols = [
  "A",
]
[channels.hook]
url = "u"
"""


def test_a_key_is_found_at_its_value():
    assert locate(TEXT, ["title"]) == (1, 9)
    assert locate(TEXT, ["quoted-key"]) == (2, 16)
    assert locate(TEXT, ["provider", "kind"]) == (5, 8)
    assert locate(TEXT, ["channels", "hook", "url"]) == (15, 7)


def test_tables_of_an_array_are_counted():
    assert locate(TEXT, ["checks", 0, "name"]) == (8, 8)
    assert locate(TEXT, ["checks", 1, "name"]) == (10, 10)


def test_what_stands_inside_a_value_is_found_at_its_key():
    assert locate(TEXT, ["checks", 1, "symbols", 0]) == (11, 11)


def test_a_missing_key_is_found_at_its_table():
    assert locate(TEXT, ["checks", 1, "when"]) == (9, 1)
    assert locate(TEXT, ["nowhere"]) == (1, 1)
