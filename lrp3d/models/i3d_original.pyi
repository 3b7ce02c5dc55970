from models.i3d_original import *
