"""Catalogue tables and JSON Schemas that ship with skep."""
