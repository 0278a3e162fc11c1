"""Uses two threads while the machine is free and one while other programs hold a core.

On a shared machine the barriers between threads cost more than the second core gives; long runs call ``tick`` once a
step and let this decide.
"""
import os
import time

import torch


class Threads:
    def __init__(self, most=None, window=3.0):
        self.most, self.window = most or os.cpu_count(), window
        torch.set_num_threads(self.most)
        self.last = self.read()

    @staticmethod
    def read():
        """(time, CPU seconds of the whole machine, CPU seconds of this process)."""
        own = os.times()
        try:
            with open("/proc/stat") as f:
                ticks = [int(v) for v in f.readline().split()[1:9]]
        except OSError:  # not Linux
            return time.time(), own.user + own.system, own.user + own.system
        busy = sum(ticks) - ticks[3] - ticks[4]
        return time.time(), busy / os.sysconf("SC_CLK_TCK"), own.user + own.system

    def tick(self):
        now = self.read()
        span = now[0] - self.last[0]
        if span < self.window:
            return
        others = ((now[1] - self.last[1]) - (now[2] - self.last[2])) / span
        self.last = now
        threads = max(1, self.most - round(others + 0.15))
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
