from models import *

from . import absent_classes as absent_classes
from . import base as base
from . import blocks as blocks
from . import checkpoints as checkpoints
from . import claims as claims
from . import counting as counting
from . import dialects as dialects
from . import files as files
from . import fitting as fitting
from . import i3d as i3d
from . import inception as inception
from . import kinds as kinds
from . import making as making
from . import pretrained as pretrained
from . import processes as processes
from . import published as published
from . import recipe as recipe
from . import resnet as resnet
from . import saving as saving
from . import slowfast as slowfast
from . import states as states
from . import tam as tam
from . import training_run as training_run
from . import tsm as tsm
from . import wording as wording
from . import zoo as zoo
