"""What stands on disk: project file, bundle, report, records; audit before construct."""
