"""EgoSchema: five options on three minutes of egocentric video (see README.md of this folder)."""

from evalkit_tasks.egoschema.task import EgoSchema, EgoSchemaSettings

__all__ = ["EgoSchema", "EgoSchemaSettings", "task"]

task = EgoSchema()
