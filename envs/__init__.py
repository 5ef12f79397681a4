"""Where they speak: `PersonaChat-v0` in single and vector form, its rewards, observations, recorder and SB3 adapter."""
