"""The page of ``dsct demo``: takes an image and shows people, emotions and where the model looked.

It is served to this computer alone, loads nothing from the network and stores nothing.
"""

from dsct.demo.launch import serve
from dsct.demo.server import create_app

__all__ = ["create_app", "serve"]
