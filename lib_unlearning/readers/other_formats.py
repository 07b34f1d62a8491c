"""What a file is that is no table of text, told by its first bytes, so that the message names the true cause."""

from __future__ import annotations

import re

_BINARY = {
    b"\xd0\xcf\x11\xe0": "an old workbook (.xls)",
    b"SQLite format 3\x00": "a SQLite database",
    b"\x89HDF\r\n": "an HDF5 file",
    b"ARROW1": "an Arrow (Feather) file",
    b"FEA1": "a Feather file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\x93NUMPY": "a numpy array",
    b"$FL2": "an SPSS file",
    b"<stata_dta>": "a Stata file",
    b"%PDF": "a PDF",
    b"RDX": "an R data file",
    b"X\n": "an R data file",
}
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_TEXT = {
    "JSON": re.compile(r'\{\s*("|$|\})|\[\s*([\[{"\d-]|$)'),
    "HTML or XML": re.compile(r"<[!?a-zA-Z]"),
    "ARFF (Weka)": re.compile(r"(%[^\n]*\n\s*)*@relation\b", re.IGNORECASE),
}


def other_format(start: bytes, text: str) -> str | None:
    """The format of a file whose first bytes are these, decoded `text`; None where it may be a table of text."""
    for mark, name in _BINARY.items():
        if start.startswith(mark):
            return name
    if _PICKLE.match(start):
        return "a pickle"
    begin = text.lstrip("\ufeff \t\r\n")
    return next((name for name, pattern in _TEXT.items() if pattern.match(begin)), None)
