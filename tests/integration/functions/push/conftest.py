"""The world of the delivery tests."""

from tests.integration.evpower.notifications.conftest import (
    make_world,
    push_folder,
    push_settings,
    push_standin,
    world,
)

__all__ = ["make_world", "push_folder", "push_settings", "push_standin", "world"]
