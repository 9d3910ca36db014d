"""Settings, presets and configuration files."""

THIRD_PARTY = ()
