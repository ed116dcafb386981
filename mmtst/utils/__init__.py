"""Serve every other room: errors and compatibility."""
