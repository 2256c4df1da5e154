"""What a forked run has imported already: all that a run imports, however late. Computes nothing, starts no thread."""

import cv2
import numba
import scenedetect
import torch

import models.backbone
import tasks.engine.local
import tests.chaos.drive
import tests.chaos.faultfs
import tests.chaos.faults
from models import patch_kernels

torch.set_num_threads(1)
cv2.setNumThreads(0)

__all__ = ["models", "numba", "patch_kernels", "scenedetect", "tasks", "tests"]
