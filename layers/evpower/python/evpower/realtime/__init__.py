"""Live status for the app: who changed (through Redis), and the events that the locations stream sends."""
