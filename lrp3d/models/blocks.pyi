from models.blocks import *
