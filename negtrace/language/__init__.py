"""The language of clinical negation: cues and their scope, findings, claims, sentences."""
