"""Resume a run that has ended: the same id, one more session, steps that go on.

The second ``init()`` finds the highest stored step, so the next ``log()`` continues after it.
"""

import runicorn as rn

with rn.init(path="resumed") as first:
    for _ in range(10):
        first.log(loss=1.0)

with rn.init(path="resumed", run_id=first.id) as second:
    second.log(loss=0.5)

print("the last step is", rn.load(second).info.last_step)
