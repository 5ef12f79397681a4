"""What every test runs under: no network, nothing left in the user's folders, and the same thread count everywhere."""

import os

# Before torch or a hub client is imported: a test that tries to reach a hub fails at once instead of waiting for it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tiny models are fastest on one thread, and several threads waiting for one another on a busy machine are slowest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
