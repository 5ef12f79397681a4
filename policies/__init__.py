"""Who picks the goal: baselines, people, learned policies. Importing this package imports none of them, and no torch.

`base` says what a policy is, `loading` finds one by its name; `baselines` and `human` need no training. Of learned policies,
`algorithms` has the hyper-parameters, `spec` what one is, `networks` its layers, `learners` Stable-Baselines3's algorithms,
`training` the training, `files` and `zips` what is on disk, and `learned` the policy that comes of it.
"""
