"""Documents as items: PDF, HTML, Markdown, text and DOCX, cut into pieces of their sections."""
