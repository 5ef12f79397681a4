"""Who picks the goal: baselines, people, learned policies. Importing this package imports none of them, and no torch.

`base` says what a policy is, `loading` finds one by its name; `baselines` and `human` need no training, `exploring` and
`taking_over` are made of others. Of learned policies, `algorithms` reads the hyper-parameters (`hyperparams/`), `spec` says
what one is, `networks` its layers, `learners` Stable-Baselines3's algorithms, `training` the training, `files` and `zips` what
is on disk, and `learned` the policy that comes of it.
"""
