from models.i3d import *
