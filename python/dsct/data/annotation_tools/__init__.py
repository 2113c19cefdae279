"""What annotation tools export, read with the emotions of every box: one file per tool.

:func:`recognise` tells by the content of a file or folder which tool wrote it, :func:`read` reads it.
"""

from dsct.data.annotation_tools.export import ToolExport
from dsct.data.annotation_tools.forms import find, read, recognise

__all__ = ["ToolExport", "find", "read", "recognise"]
