"""Cleaning plan and feature plan, fitted once and applied to history and live rows."""
