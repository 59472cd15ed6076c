"""The page for referees: figures of one recipe, and which item of a checklist is where."""
