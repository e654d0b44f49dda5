"""What a person sees: command line, terminal, web, chat."""
