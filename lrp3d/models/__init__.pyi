from models import *

from . import base as base
from . import blocks as blocks
from . import checkpoints as checkpoints
from . import counting as counting
from . import files as files
from . import i3d as i3d
from . import inception as inception
from . import names as names
from . import pretrained as pretrained
from . import resnet as resnet
from . import saving as saving
from . import slowfast as slowfast
from . import tam as tam
from . import tsm as tsm
from . import zoo as zoo
