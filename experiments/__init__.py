"""What we ask of it all: one module per question, each a command of the `convogym` program."""
