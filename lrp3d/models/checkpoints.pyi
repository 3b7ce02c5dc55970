from models.checkpoints import *
