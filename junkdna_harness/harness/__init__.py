"""The room for lm-eval: the only one that imports its internals.

tasks: finding and loading tasks. requests: what a model is asked. results: what its answers are worth. patches: where
lm-eval is quietened or sped up. versions: what differs between the versions of lm-eval. model: what a model must be able
to do. targets: a task's right answer as plain values.
"""
