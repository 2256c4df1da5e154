"""The lockstep engine: runs a `models.sampling.Program` on a shot, over any number of workers, to the same bits.

It moves tensors between windows and commits states; what the tensors mean it refuses to know.
"""
