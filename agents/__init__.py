"""Who speaks: the decoder, language models, scripted, remote and human speakers, and their training losses."""
