"""Reading what was recorded: SQL, tables, dumps. Nothing here changes a file."""
