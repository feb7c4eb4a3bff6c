"""The reader of each suffix."""

from collections.abc import Mapping

from conjoin.answering.documents.blocks import Reader
from conjoin.answering.documents.docx import read_docx
from conjoin.answering.documents.html import read_html, read_markdown
from conjoin.answering.documents.pdf import read_pdf
from conjoin.answering.documents.plain import read_text

READERS: Mapping[str, Reader] = {
    ".pdf": read_pdf, ".html": read_html, ".htm": read_html, ".xhtml": read_html,
    ".md": read_markdown, ".markdown": read_markdown, ".txt": read_text, ".text": read_text,
    ".rst": read_text, ".docx": read_docx,
}  # fmt: skip
#: Packed formats, whose parsers hostile bytes may end: they run in a process of their own.
PACKED = frozenset({".pdf", ".docx"})
